// verify --brokers B --job echo|totals|windows --order strict|topic|none --inputs in[,in2]
//        --output out --ledger FILE --seen FILE [--poison skip|letters]
//        [--delivery at-least-once]
//
// With --poison some of the input is no record: none of it may come out, and with `letters` each
// stands once in the topic `bad`, with headers that say where it was read.
//
// With --delivery at-least-once a record of an echo may come out again: the judge looks at the
// first.
//
// Works out from the input topics what the output topic must hold, reads it, and prints a verdict
// as one JSON object. Shares no code with the engine. Exit code 0: as it should be; 1: it is not;
// 2: it could not be judged.
#include <algorithm>
#include <fstream>
#include <sstream>
#include <tuple>
#include <unordered_map>

#include "json_row.h"
#include "kafka.h"

namespace {

struct Input {
  int64_t value = 0;
  int64_t at = 0;
  bool there = false;
  bool seen = false;  // in the output
  int topic = 0;
};

struct Fold {
  int64_t count = 0, sum = 0, min = 0, max = 0;
  void Add(int64_t value) {
    min = count == 0 ? value : std::min(min, value);
    max = count == 0 ? value : std::max(max, value);
    sum += value;
    ++count;
  }
  friend bool operator==(const Fold&, const Fold&) = default;
};

struct Key {
  std::vector<Input> records;          // by sequence number - 1
  std::vector<int64_t> last_of_topic;  // last sequence number that came out
  int64_t last = 0;
  Fold fold;  // of what came out so far
};

struct Window {
  Fold fold;
  int seen = 0;
};

struct Verdict {
  uint64_t input = 0, acknowledged = 0, output = 0;
  uint64_t acknowledged_lost = 0;  // by Kafka: then nothing can be said
  uint64_t lost = 0, duplicate = 0, out_of_order = 0, wrong = 0, corrupt = 0;
  uint64_t aborted = 0, readers_disagree = 0;
  uint64_t poison = 0;
  uint64_t again = 0;  // that may be
  bool content_equal = true, reached_end = true;
  std::vector<std::string> open_transactions;
  std::vector<std::string> examples;

  void Note(uint64_t& counter, const std::string& what, std::string_view text) {
    ++counter;
    if (examples.size() < 8) examples.push_back(what + ": " + std::string(text));
  }
};

std::string_view Text(const rd_kafka_message_t& message) {
  return {static_cast<const char*>(message.payload), message.len};
}

class Judge {
 public:
  Judge(std::map<std::string, std::string> options)
      : options_(std::move(options)),
        brokers_(options_["brokers"]),
        inputs_(judge::Split(options_["inputs"], ',')),
        job_(options_["job"]),
        order_(options_["order"]) {}

  int Run() {
    ReadLedger();
    for (size_t t = 0; t < inputs_.size(); ++t) ReadInput(static_cast<int>(t));
    verdict_.acknowledged_lost = ledger_.size();
    for (const auto& [where, what] : ledger_) {
      if (verdict_.examples.size() < 8) verdict_.examples.push_back("Kafka lost " + where);
    }
    if (job_ == "windows") ExpectWindows();
    ReadOutput();
    CountLost();
    if (options_["poison"] == "letters") ReadLetters();
    CompareReaders();
    LookForOpenTransactions();
    return Print();
  }

 private:
  static std::string Where(std::string_view topic, int64_t partition, int64_t offset) {
    return std::string(topic) + " " + std::to_string(partition) + " " + std::to_string(offset);
  }

  void ReadLedger() {
    std::ifstream file(options_["ledger"]);
    std::string topic, key;
    int64_t partition = 0, offset = 0, seq = 0;
    while (file >> topic >> partition >> offset >> key >> seq) {
      ledger_[Where(topic, partition, offset)] = key + " " + std::to_string(seq);
    }
    verdict_.acknowledged = ledger_.size();
  }

  void ReadInput(int topic) {
    verdict_.reached_end &= judge::ReadAll(
        brokers_, inputs_[static_cast<size_t>(topic)], false, [&](const auto& message) {
          const auto row = ParseRow(Text(message));
          if (!row || row->hash != InputHash(*row)) {
            if (options_["poison"].empty()) judge::Die("the input itself is damaged");
            ++verdict_.poison;
            poison_[Where(inputs_[static_cast<size_t>(topic)], message.partition, message.offset)] =
                Text(message);
            return;
          }
          ++verdict_.input;
          const auto entry = ledger_.find(
              Where(inputs_[static_cast<size_t>(topic)], message.partition, message.offset));
          if (entry != ledger_.end() &&
              entry->second == std::string(row->key) + " " + std::to_string(row->seq)) {
            ledger_.erase(entry);
          }
          Key& key = keys_[std::string(row->key)];
          key.last_of_topic.resize(inputs_.size());
          const auto index = static_cast<size_t>(row->seq - 1);
          if (index >= key.records.size()) key.records.resize(index + 1);
          key.records[index] = {row->value, row->at, true, false, topic};
          expected_content_ += Content(Text(message));
          std::string_view name = row->key;
          if (name.starts_with("end-")) horizon_ = std::min(horizon_, row->at);
        });
  }

  static unsigned __int128 Content(std::string_view text) {
    return (static_cast<unsigned __int128>(Fnv1a(text)) << 64) | Fnv1a(text, 88172645463325252u);
  }

  void ExpectWindows() {
    const auto add = [&](const std::string& key, const char* kind, int64_t end, int64_t value) {
      if (end <= horizon_ - 1'700'000) {
        windows_[key + " " + kind + " " + std::to_string(end)].fold.Add(value);
      }
    };
    for (const auto& [name, key] : keys_) {
      for (const Input& record : key.records) {
        if (!record.there) continue;
        const int64_t second = (record.at / 1000 + 1) * 1000;
        add(name, "tumbling", second, record.value);
        add(name, "timer", second, record.value);
        const int64_t first = (record.at / 500 + 1) * 500;
        for (int64_t end = first; end < first + 2000; end += 500) {
          add(name, "sliding", end, record.value);
        }
      }
    }
  }

  void ReadOutput() {
    verdict_.reached_end &=
        judge::ReadAll(brokers_, options_["output"], true, [&](const auto& message) {
          ++verdict_.output;
          output_[{message.partition, message.offset}] = Fnv1a(Text(message));
          const auto row = ParseRow(Text(message));
          if (!row) return verdict_.Note(verdict_.corrupt, "not a row", Text(message));
          LookAtPlace(*row, message);
          if (job_ == "windows") return OnWindow(*row, Text(message));
          const auto found = keys_.find(std::string(row->key));
          const auto index = static_cast<size_t>(row->seq - 1);
          if (found == keys_.end() || index >= found->second.records.size() ||
              !found->second.records[index].there) {
            return verdict_.Note(verdict_.wrong, "never was in the input", Text(message));
          }
          OnRecord(*row, found->second, Text(message));
        });
  }

  // Kafka's key is the row's, and every record of a key lies in the same partition, whatever the
  // job's parallelism was: else a reader of one partition would see no order.
  void LookAtPlace(const Row& row, const rd_kafka_message_t& message) {
    const std::string_view key(static_cast<const char*>(message.key), message.key_len);
    if (key != row.key) verdict_.Note(verdict_.wrong, "another key than its row", Text(message));
    const auto [entry, first] = partitions_.emplace(key, message.partition);
    if (!first && entry->second != message.partition) {
      verdict_.Note(verdict_.wrong, "its key lies in two partitions", Text(message));
    }
  }

  void OnRecord(const Row& row, Key& key, std::string_view text) {
    Input& input = key.records[static_cast<size_t>(row.seq - 1)];
    if (input.seen && options_["delivery"] == "at-least-once") {
      ++verdict_.again;
      if (row.hash != InputHash(row)) verdict_.Note(verdict_.corrupt, "changed", text);
      return;
    }
    if (input.seen) {
      verdict_.Note(verdict_.duplicate, "duplicate", text);
    } else if (order_ != "none") {
      int64_t& last =
          order_ == "strict" ? key.last : key.last_of_topic[static_cast<size_t>(input.topic)];
      if (row.seq < last) verdict_.Note(verdict_.out_of_order, "out of order", text);
      last = std::max(last, row.seq);
    }
    if (job_ == "echo") {
      if (row.hash != InputHash(row)) verdict_.Note(verdict_.corrupt, "changed", text);
      content_ += Content(text);
    } else if (!input.seen) {
      key.fold.Add(input.value);
      if (key.fold != Fold{row.count, row.sum, row.min, row.max}) {
        verdict_.Note(verdict_.wrong, "a total is wrong", text);
        key.fold = {row.count, row.sum, row.min, row.max};  // each error counts once
      }
    }
    input.seen = true;
  }

  void OnWindow(const Row& row, std::string_view text) {
    const auto found = windows_.find(std::string(row.key) + " " + std::string(row.kind) + " " +
                                     std::to_string(row.end));
    if (found == windows_.end()) return verdict_.Note(verdict_.wrong, "no such window", text);
    Window& window = found->second;
    if (window.seen++ > 0) return verdict_.Note(verdict_.duplicate, "duplicate", text);
    if (window.fold != Fold{row.count, row.sum, row.min, row.max}) {
      verdict_.Note(verdict_.wrong, "a window is wrong", text);
    }
  }

  void CountLost() {
    if (job_ == "windows") {
      for (const auto& [name, window] : windows_) {
        if (window.seen == 0) verdict_.Note(verdict_.lost, "lost", name);
      }
      return;
    }
    for (const auto& [name, key] : keys_) {
      for (size_t i = 0; i < key.records.size(); ++i) {
        if (key.records[i].there && !key.records[i].seen) {
          verdict_.Note(verdict_.lost, "lost", name + " " + std::to_string(i + 1));
        }
      }
    }
    if (job_ == "echo") verdict_.content_equal = content_ == expected_content_;
  }

  // Each record that is none stands once among the dead letters, as it came.
  void ReadLetters() {
    std::map<std::string, int> seen;
    verdict_.reached_end &= judge::ReadAll(brokers_, "bad", true, [&](const auto& message) {
      const std::string where = Header(message, "weir.topic") + " " +
                                Header(message, "weir.partition") + " " +
                                Header(message, "weir.offset");
      const auto found = poison_.find(where);
      if (found == poison_.end() || found->second != Text(message)) {
        return verdict_.Note(verdict_.wrong, "not what was read there", where);
      }
      if (seen[where]++ > 0) verdict_.Note(verdict_.duplicate, "repeated dead letter", where);
      if (Header(message, "weir.reason").empty()) {
        verdict_.Note(verdict_.wrong, "a dead letter without a reason", where);
      }
    });
    for (const auto& [where, text] : poison_) {
      if (!seen.contains(where)) verdict_.Note(verdict_.lost, "lost dead letter", where);
    }
  }

  static std::string Header(const rd_kafka_message_t& message, const char* name) {
    rd_kafka_headers_t* headers = nullptr;
    const void* value = nullptr;
    size_t size = 0;
    if (rd_kafka_message_headers(&message, &headers) != 0 ||
        rd_kafka_header_get_last(headers, name, &value, &size) != 0 || value == nullptr) {
      return "";
    }
    return {static_cast<const char*>(value), size};
  }

  // What the reader beside the faults saw must be what is there now, record by record.
  void CompareReaders() {
    std::ifstream file(options_["seen"]);
    int32_t partition = 0;
    int64_t offset = 0;
    std::string hash;
    uint64_t lines = 0;
    while (file >> partition >> offset >> hash) {
      ++lines;
      const auto found = output_.find({partition, offset});
      if (found == output_.end() || Hex(found->second) != hash) {
        verdict_.Note(verdict_.readers_disagree, "read, and gone or changed",
                      Where(options_["output"], partition, offset));
      }
    }
    if (lines < output_.size()) verdict_.reached_end = false;
  }

  void LookForOpenTransactions() {
    rd_kafka_t* committed = judge::Consumer(brokers_, true);
    rd_kafka_t* all = judge::Consumer(brokers_, false);
    std::vector<std::string> topics = {options_["output"]};
    if (options_["delivery"] != "at-least-once") topics.emplace_back("weir-output-markers");
    if (options_["poison"] == "letters") topics.emplace_back("bad");
    for (const std::string& topic : topics) {
      const auto stable = judge::Ends(committed, topic), ends = judge::Ends(all, topic);
      for (size_t p = 0; p < ends.size(); ++p) {
        if (stable[p] < ends[p]) {
          verdict_.open_transactions.push_back(topic + "-" + std::to_string(p));
        }
      }
    }
    // Records that were there for read-uncommitted readers only.
    uint64_t everything = 0;
    verdict_.reached_end &=
        judge::ReadAll(brokers_, options_["output"], false, [&](const auto&) { ++everything; });
    verdict_.aborted = everything - std::min(everything, verdict_.output);
  }

  static std::string List(const std::vector<std::string>& texts) {
    std::string list = "[";
    for (const std::string& text : texts) {
      if (list.size() > 1) list += ",";
      list += '"';
      for (const char c : text) {
        if (c == '"' || c == '\\') list += '\\';
        if (static_cast<unsigned char>(c) >= 0x20) list += c;
      }
      list += '"';
    }
    return list + "]";
  }

  int Print() {
    const Verdict& v = verdict_;
    const bool ok =
        v.lost + v.duplicate + v.out_of_order + v.wrong + v.corrupt + v.readers_disagree == 0 &&
        v.content_equal && v.open_transactions.empty();
    const bool judged = v.acknowledged_lost == 0 && v.reached_end && v.output > 0;
    std::ostringstream out;
    out << "{\"ok\":" << (ok && judged ? "true" : "false")
        << ",\"judged\":" << (judged ? "true" : "false");
    for (const auto& [name, value] : std::initializer_list<std::pair<const char*, uint64_t>>{
             {"input", v.input},
             {"acknowledged", v.acknowledged},
             {"acknowledged_lost", v.acknowledged_lost},
             {"output", v.output},
             {"lost", v.lost},
             {"duplicate", v.duplicate},
             {"out_of_order", v.out_of_order},
             {"wrong", v.wrong},
             {"corrupt", v.corrupt},
             {"poison", v.poison},
             {"again", v.again},
             {"aborted", v.aborted},
             {"readers_disagree", v.readers_disagree}}) {
      out << ",\"" << name << "\":" << value;
    }
    out << ",\"content_equal\":" << (v.content_equal ? "true" : "false")
        << ",\"reached_end\":" << (v.reached_end ? "true" : "false")
        << ",\"open_transactions\":" << List(v.open_transactions)
        << ",\"examples\":" << List(v.examples) << "}";
    std::printf("%s\n", out.str().c_str());
    if (!ok) return 1;
    return judged ? 0 : 2;
  }

  std::map<std::string, std::string> options_;
  const std::string brokers_;
  const std::vector<std::string> inputs_;
  const std::string job_, order_;
  std::unordered_map<std::string, std::string> ledger_;  // acknowledged, not yet found
  std::unordered_map<std::string, std::string> poison_;  // by where it stands
  std::unordered_map<std::string, Key> keys_;
  std::unordered_map<std::string, Window> windows_;
  std::map<std::pair<int32_t, int64_t>, uint64_t> output_;
  std::unordered_map<std::string, int32_t> partitions_;  // of each key of the output
  unsigned __int128 expected_content_ = 0, content_ = 0;
  int64_t horizon_ = INT64_MAX;
  Verdict verdict_;
};

}  // namespace

int main(int argc, char** argv) { return Judge(judge::Options(argc, argv)).Run(); }
