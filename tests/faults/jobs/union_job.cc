// As totals_job, over two topics: `in` has the odd records of a key, `in2` the even ones.
#include "record.h"

WEIR_JOB(env, args) {
  Settle(env, args);
  Write(Totals(Read(env, args, "in").Union(Read(env, args, "in2"))), args);
}
