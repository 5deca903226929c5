#include <unistd.h>

#include <iostream>

#include "cli/cli.h"
#include "config/config.h"

int main(int argc, char** argv) {
  return weir::cli::Main({argv + 1, argv + argc}, weir::config::ProcessEnvironment(), std::cout,
                         std::cerr, isatty(STDERR_FILENO) != 0);
}
