// How often does each word stand in some files? Prints a word's count each time it grows; the last
// line of a word is the answer.
//
//   weir run libword_count.so -- --files a.txt,b.txt
//
//   --files A,B   paths, the same on every machine that runs a TaskManager (required)
//   --rate N      lines per second; none: as fast as they are counted

#include <weir/weir.h>

#include <cctype>
#include <sstream>

using namespace weir;

struct WordCount {
  std::string word;
  uint64_t count = 0;
};

static std::vector<std::string> Paths(const std::string& list) {
  std::vector<std::string> paths;
  std::istringstream in(list);
  for (std::string path; std::getline(in, path, ',');) paths.push_back(path);
  return paths;
}

static void Words(const std::string& line, Collector<std::string>& out) {
  std::string word;
  for (const unsigned char c : line + " ") {
    if (std::isalnum(c)) {
      word += static_cast<char>(std::tolower(c));
    } else if (!word.empty()) {
      out.Collect(word);
      word.clear();
    }
  }
}

WEIR_JOB(env, args) {
  env.settings().name = "word-count";
  auto lines = env.From(ReadLines(Paths(args["files"])));
  lines.Uid("lines");
  if (args.Has("rate")) lines.RateLimit(args.GetDouble("rate", 0));
  lines.FlatMap(&Words)
      .KeyBy([](const std::string& word) { return word; })
      .Aggregate(Count(),
                 [](const std::string& word, uint64_t count) {
                   return WordCount{word, count};
                 })
      .Uid("count-per-word")
      .To(Print<WordCount>())
      .Uid("printed");
}
