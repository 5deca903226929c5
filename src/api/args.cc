#include "api/args.h"

#include <charconv>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/nearest.h"

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

struct Args::Reads {
  std::set<std::string, std::less<>> asked;
  bool unread_allowed = false;
};

Args Args::Parse(const std::vector<std::string>& words) {
  Args args;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.starts_with("--") || word.size() == 2) {
      ThrowError(ErrorKind::kUser,
                 "job parameter '" + word + "' is not of the form --name value or --name=value");
    }
    const size_t equals = word.find('=');
    const std::string key = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    std::string value = "true";
    if (equals != std::string::npos) {
      value = word.substr(equals + 1);
    } else if (i + 1 < words.size() && !words[i + 1].starts_with("--")) {
      value = words[++i];
    }
    if (!args.values_.emplace(key, std::move(value)).second) {
      ThrowError(ErrorKind::kUser, "job parameter --" + key +
                                       " is given twice; give it once (several values may be one "
                                       "text, as in --" +
                                       key + "=a,b, if the job splits it)");
    }
  }
  return args;
}

void Args::Asked(std::string_view key) const {
  if (reads_ != nullptr) reads_->asked.emplace(key);
}

void Args::WatchReads() { reads_ = std::make_shared<Reads>(); }

void Args::AllowUnread() const {
  if (reads_ != nullptr) reads_->unread_allowed = true;
}

const std::map<std::string, std::string, std::less<>>& Args::all() const {
  AllowUnread();
  return values_;
}

std::string Args::Unread() const {
  if (reads_ == nullptr || reads_->unread_allowed) return "";
  // A name that was given and asked for is right where it is; another one is meant.
  std::vector<std::string> absent;
  std::string names;
  for (const std::string& key : reads_->asked) {
    if (!values_.contains(key)) absent.push_back(key);
    names += (names.empty() ? "--" : ", --") + key;
  }
  std::string unread;
  size_t count = 0;
  for (const auto& [key, value] : values_) {
    if (reads_->asked.contains(key)) continue;
    unread += (count++ == 0 ? "--" : ", --") + key;
    const std::string nearest = Nearest(key, absent);
    if (!nearest.empty()) unread += " (did you mean --" + nearest + "?)";
  }
  if (count == 0) return "";
  return "the job does not read the parameter" + std::string(count == 1 ? " " : "s ") + unread +
         (names.empty() ? "; it reads none" : "; with these parameters it reads " + names);
}

bool Args::Has(std::string_view key) const {
  Asked(key);
  return values_.contains(key);
}

const std::string& Args::operator[](std::string_view key) const {
  Asked(key);
  const auto it = values_.find(key);
  if (it == values_.end()) {
    // The given one that comes nearest and is not another one that the job reads.
    std::vector<std::string> others;
    for (const auto& [name, value] : values_) {
      if (reads_ != nullptr && !reads_->asked.contains(name)) others.push_back(name);
    }
    const std::string nearest = Nearest(key, others);
    ThrowError(ErrorKind::kUser,
               "the job needs the parameter --" + std::string(key) +
                   (nearest.empty() ? "; give it after --, as in: weir run job.so -- --" +
                                          std::string(key) + " VALUE"
                                    : "; --" + nearest + " was given: is it meant?"));
  }
  return it->second;
}

std::string Args::Get(std::string_view key, std::string fallback) const {
  Asked(key);
  const auto it = values_.find(key);
  if (it == values_.end()) return fallback;
  return it->second;
}

int64_t Args::GetInt(std::string_view key, int64_t fallback) const {
  Asked(key);
  const auto it = values_.find(key);
  return it == values_.end() ? fallback : ParseNumber<int64_t>(key, it->second);
}

double Args::GetDouble(std::string_view key, double fallback) const {
  Asked(key);
  const auto it = values_.find(key);
  return it == values_.end() ? fallback : ParseNumber<double>(key, it->second);
}

bool Args::GetBool(std::string_view key, bool fallback) const {
  Asked(key);
  const auto it = values_.find(key);
  if (it == values_.end()) return fallback;
  if (it->second == "true" || it->second == "1" || it->second == "yes") return true;
  if (it->second == "false" || it->second == "0" || it->second == "no") return false;
  ThrowError(ErrorKind::kUser,
             "job parameter --" + std::string(key) + " is '" + it->second + "'; use true or false");
}

}  // namespace weir
