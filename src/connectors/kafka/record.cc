#include "connectors/kafka/record.h"

#include "connectors/kafka/output_record.h"

namespace weir::kafka {

void AppendOrigin(const DeadLetter& letter, std::string& out) {
  AppendHeader("weir.reason", letter.reason, out);
  AppendHeader("weir.topic", letter.record.topic, out);
  AppendHeader("weir.partition", std::to_string(letter.record.partition), out);
  AppendHeader("weir.offset", std::to_string(letter.record.offset), out);
}

}  // namespace weir::kafka
