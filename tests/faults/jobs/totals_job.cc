// Behind every record of `in`: its key's count, sum, least and greatest value so far.
#include "record.h"

WEIR_JOB(env, args) {
  Settle(env, args);
  Write(Totals(Read(env, args, "in")), args);
}
