#include "connectors/print/print.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct Order {
  std::string customer;
  int64_t cents = 0;
};

RuntimeContext ContextOf(const std::string& job, uint32_t subtask = 0, uint32_t attempt = 1) {
  RuntimeContext context;
  context.job_id = JobId(job);
  context.attempt = AttemptId(attempt);
  context.operator_uid = "print";
  context.subtask_index = subtask;
  return context;
}

PrintRingKey KeyOf(const std::string& job, uint32_t subtask = 0, uint32_t attempt = 1) {
  return {.job_id = job, .attempt = attempt, .operator_uid = "print", .subtask = subtask};
}

template <class T>
void WriteRows(SinkWriter<T>& writer, const std::vector<T>& rows) {
  RecordBatch<T> batch;
  for (const T& row : rows) batch.Append(row, kNoTimestamp);
  writer.Write(batch);
}

PrintedLines Lines(const std::vector<std::string>& lines) {
  PrintedLines printed;
  for (const std::string& line : lines) {
    printed.bytes += line;
    printed.ends.push_back(static_cast<uint32_t>(printed.bytes.size()));
  }
  return printed;
}

TEST(Print, RowsAsJsonBehindTheLabel) {
  const auto writer = Print<Order>("orders").make_writer();
  writer->Open(ContextOf("json"));
  WriteRows<Order>(*writer, {{"ann", 120}, {"bob \"b\"", -5}});
  EXPECT_THAT(PrintRings::Find(KeyOf("json"))->Read(0, 10).lines,
              ElementsAre(R"(orders> {"customer":"ann","cents":120})",
                          R"(orders> {"customer":"bob \"b\"","cents":-5})"));
}

TEST(Print, StringsAsTheyAre) {
  const auto writer = Print<std::string>().make_writer();
  writer->Open(ContextOf("strings"));
  WriteRows<std::string>(*writer, {"plain \"text\""});
  EXPECT_THAT(PrintRings::Find(KeyOf("strings"))->Read(0, 10).lines, ElementsAre("plain \"text\""));
}

TEST(Print, AnEndlessLineIsCut) {
  const auto writer = Print<std::string>().make_writer();
  writer->Open(ContextOf("long"));
  WriteRows<std::string>(*writer, {std::string(1 << 20, 'x'), "next"});
  const auto lines = PrintRings::Find(KeyOf("long"))->Read(0, 10).lines;
  EXPECT_EQ(lines[0], std::string(PrintRing::kMaxLineBytes, 'x') + "...");
  EXPECT_EQ(lines[1], "next");
}

TEST(Print, LastLinesCanBeReadWhenTheSinkIsGone) {
  {
    const auto writer = Print<int>().make_writer();
    writer->Open(ContextOf("ended"));
    WriteRows<int>(*writer, {1, 2, 3});
    EXPECT_FALSE(PrintRings::Find(KeyOf("ended"))->Read(0, 10).ended);
  }
  const auto ring = PrintRings::Find(KeyOf("ended"));
  EXPECT_FALSE(ring->Read(0, 2).ended) << "a line is still to be read";
  EXPECT_TRUE(ring->Read(2, 2).ended);
}

TEST(PrintRing, ReadsOnFromASequence) {
  PrintRing ring;
  ring.Append(Lines({"a", "b"}));
  ring.Append(Lines({"", "d", "e"}));
  PrintRing::Piece piece = ring.Read(1, 2);
  EXPECT_THAT(piece.lines, ElementsAre("b", ""));
  EXPECT_EQ(piece.first_sequence, 1u);
  EXPECT_EQ(piece.next_sequence, 3u);
  piece = ring.Read(3, 100);
  EXPECT_THAT(piece.lines, ElementsAre("d", "e"));
  EXPECT_EQ(piece.next_sequence, 5u);
  EXPECT_THAT(ring.Read(5, 100).lines, IsEmpty());
  EXPECT_EQ(ring.Read(99, 100).next_sequence, 5u);
}

TEST(PrintRing, DropsTheOldestAndSaysHowMany) {
  PrintRing ring;
  constexpr size_t kBatches = 3 * PrintRing::kMaxLines / 100;
  for (size_t b = 0; b < kBatches; ++b) {
    std::vector<std::string> lines;
    for (size_t i = 0; i < 100; ++i) lines.push_back(std::to_string(b * 100 + i));
    ring.Append(Lines(lines));
  }
  const PrintRing::Piece piece = ring.Read(0, PrintRing::kMaxLines * 2);
  EXPECT_THAT(piece.lines, SizeIs(PrintRing::kMaxLines));
  EXPECT_EQ(piece.dropped, 2 * PrintRing::kMaxLines);
  EXPECT_EQ(piece.lines.front(), std::to_string(piece.first_sequence));
  EXPECT_EQ(piece.next_sequence, ring.next_sequence());
}

TEST(PrintRing, IsBoundedInBytes) {
  PrintRing ring;
  for (int i = 0; i < 100; ++i) ring.Append(Lines({std::string(1 << 20, 'x')}));
  EXPECT_THAT(ring.Read(0, 1000).lines, SizeIs(PrintRing::kMaxBytes >> 20));
}

TEST(PrintRings, OfEndedOnesTheNewestAreKept) {
  for (uint32_t attempt = 0; attempt <= PrintRings::kMaxEnded; ++attempt) {
    const auto ring = PrintRings::Open(KeyOf("restarting", 0, attempt));
    PrintRings::Close(KeyOf("restarting", 0, attempt), *ring);
  }
  EXPECT_EQ(PrintRings::Find(KeyOf("restarting", 0, 0)), nullptr);
  EXPECT_NE(PrintRings::Find(KeyOf("restarting", 0, PrintRings::kMaxEnded)), nullptr);
}

// The ended ring's memory has gone to the one that is open under its key by now.
TEST(PrintRings, AnOpenOneIsNotTakenForOneThatEndedUnderItsKey) {
  const PrintRingKey key = KeyOf("again");
  PrintRings::Close(key, *PrintRings::Open(key));
  for (int i = 0; i < 2; ++i) PrintRings::Open(key);
  for (uint32_t attempt = 0; attempt <= PrintRings::kMaxEnded; ++attempt) {
    const PrintRingKey other = KeyOf("others", 0, attempt);
    PrintRings::Close(other, *PrintRings::Open(other));
  }
  EXPECT_NE(PrintRings::Find(key), nullptr);
}

}  // namespace
}  // namespace weir
