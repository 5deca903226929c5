// Behind every record of `in`: its key's count, sum, least and greatest value so far.
#include "record.h"

WEIR_JOB(env, args) {
  Settle(env, args);
  Write(Read(env, args, "in").KeyBy(&In::key).Process(RunningTotal()).Uid("total"), args);
}
