extern "C" int not_a_job() { return 1; }
