#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "cli/cli.h"
#include "config/config.h"

int main(int argc, char** argv) {
  // Names resolve as everywhere else on the machine (hosts file, nsswitch). gRPC's own resolver
  // asks the DNS servers for more than the address, and where none answers that takes over a
  // minute.
  setenv("GRPC_DNS_RESOLVER", "native", 0);
  return weir::cli::Main({argv + 1, argv + argc}, weir::config::ProcessEnvironment(), std::cout,
                         std::cerr, isatty(STDERR_FILENO) != 0);
}
