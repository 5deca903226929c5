// Every record of `in` as it is, in `out`.
#include "record.h"

WEIR_JOB(env, args) {
  Settle(env, args);
  Write(Read(env, args, "in"), args);
}
