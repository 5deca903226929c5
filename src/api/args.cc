#include "api/args.h"

#include <charconv>

#include "base/error.h"

namespace weir {
namespace {

template <class T>
T ParseNumber(std::string_view key, const std::string& text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    ThrowError(ErrorKind::kUser,
               "job parameter --" + std::string(key) + " is '" + text + "', which is not a number");
  }
  return value;
}

}  // namespace

Args Args::Parse(const std::vector<std::string>& words) {
  Args args;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.starts_with("--") || word.size() == 2) {
      ThrowError(ErrorKind::kUser,
                 "job parameter '" + word + "' is not of the form --name value or --name=value");
    }
    const size_t equals = word.find('=');
    if (equals != std::string::npos) {
      args.values_[word.substr(2, equals - 2)] = word.substr(equals + 1);
    } else if (i + 1 < words.size() && !words[i + 1].starts_with("--")) {
      args.values_[word.substr(2)] = words[i + 1];
      ++i;
    } else {
      args.values_[word.substr(2)] = "true";
    }
  }
  return args;
}

bool Args::Has(std::string_view key) const { return values_.contains(key); }

const std::string& Args::operator[](std::string_view key) const {
  const auto it = values_.find(key);
  if (it == values_.end()) {
    ThrowError(ErrorKind::kUser, "the job needs the parameter --" + std::string(key) +
                                     "; give it after --, as in: weir run job.so -- --" +
                                     std::string(key) + " VALUE");
  }
  return it->second;
}

std::string Args::Get(std::string_view key, std::string fallback) const {
  const auto it = values_.find(key);
  return it == values_.end() ? std::move(fallback) : it->second;
}

int64_t Args::GetInt(std::string_view key, int64_t fallback) const {
  const auto it = values_.find(key);
  return it == values_.end() ? fallback : ParseNumber<int64_t>(key, it->second);
}

double Args::GetDouble(std::string_view key, double fallback) const {
  const auto it = values_.find(key);
  return it == values_.end() ? fallback : ParseNumber<double>(key, it->second);
}

bool Args::GetBool(std::string_view key, bool fallback) const {
  const auto it = values_.find(key);
  if (it == values_.end()) return fallback;
  if (it->second == "true" || it->second == "1" || it->second == "yes") return true;
  if (it->second == "false" || it->second == "0" || it->second == "no") return false;
  ThrowError(ErrorKind::kUser,
             "job parameter --" + std::string(key) + " is '" + it->second + "'; use true or false");
}

}  // namespace weir
