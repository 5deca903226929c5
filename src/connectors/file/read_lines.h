#pragma once

#include <string>
#include <vector>

#include "runtime/source/source.h"

namespace weir {

/// A bounded source of the lines of text files, without their ends. The files must be there, under
/// the same paths, on every machine that runs a TaskManager. See the README of this folder.
Source<std::string> ReadLines(std::vector<std::string> paths);
inline Source<std::string> ReadLines(std::string path) {
  return ReadLines(std::vector<std::string>{std::move(path)});
}

}  // namespace weir
