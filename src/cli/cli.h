#pragma once

#include <iosfwd>
#include <map>
#include <string>
#include <vector>

namespace weir::cli {

/// The program: `arguments` without its own name. Returns an ExitCode.
int Main(const std::vector<std::string>& arguments,
         const std::map<std::string, std::string>& environment, std::ostream& out,
         std::ostream& err, bool terminal);

}  // namespace weir::cli
