#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "cli/cli.h"
#include "config/config.h"

namespace {

/// Where a standard stream was closed (`weir ... >&-`), the next file or pipe to be opened would
/// take its number, and what is printed would go into that.
void TakeStandardStreams() {
  int taken = 0;
  while (taken >= 0 && taken <= STDERR_FILENO) taken = open("/dev/null", O_RDWR);
  if (taken > STDERR_FILENO) close(taken);
}

}  // namespace

int main(int argc, char** argv) {
  TakeStandardStreams();
  // Names resolve as everywhere else on the machine (hosts file, nsswitch). gRPC's own resolver
  // asks the DNS servers for more than the address, and where none answers that takes over a
  // minute.
  setenv("GRPC_DNS_RESOLVER", "native", 0);
  return weir::cli::Main({argv + 1, argv + argc}, weir::config::ProcessEnvironment(), std::cout,
                         std::cerr, isatty(STDERR_FILENO) != 0);
}
