// As totals_job, behind a chain of two exchanges that keep no order.
#include "record.h"

WEIR_JOB(env, args) {
  Settle(env, args);
  auto copies = Read(env, args, "in")
                    .Rebalance()
                    .Map([](const In& row) { return row; })
                    .Uid("copy")
                    .Filter([](const In& row) { return !row.key.empty(); })
                    .Uid("filter")
                    .Rebalance()
                    .Map([](const In& row) { return row; })
                    .Uid("copy-again");
  Write(Totals(copies), args);
}
