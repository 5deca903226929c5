#include "state/list_state.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/state/state_harness.h"

namespace weir {
namespace {

using test::Restorable;
using test::Subtask;
using List = ListState<std::string>;
using Strings = std::vector<std::string>;

TEST(ListStateTest, KeepsTheOrderOfAdding) {
  Subtask<std::string> task;
  List list = List::Open(task.state, "l");
  task.Key("x");
  list.Add("1");
  list.Add("2");
  task.Key("y");
  EXPECT_TRUE(list.Empty());
  task.Key("x");
  list.Add("3");
  EXPECT_EQ(list.Get(), (Strings{"1", "2", "3"}));
  list.Update({"9", "8"});
  EXPECT_EQ(list.Get(), (Strings{"9", "8"}));
  list.Clear();
  EXPECT_EQ(list.Size(), 0u);
}

TEST(ListStateTest, AppendingWritesOneElementHoweverLongTheListIs) {
  Subtask<std::string> task;
  List list = List::Open(task.state, "l");
  task.Key("x");
  for (int i = 0; i < 500; ++i) list.Add(std::to_string(i));
  task.Snapshot(1);
  EXPECT_EQ(task.chain.segments().back()->entries(), 501u);  // and the head
  list.Add("more");
  task.Snapshot(2);
  EXPECT_EQ(task.chain.segments().back()->entries(), 2u);
}

TEST(ListStateTest, SurvivesRestoreClearedAndFilledAgain) {
  Subtask<std::string> task;
  List list = List::Open(task.state, "l");
  task.Key("x");
  list.Update({"a", "b", "c"});
  task.Key("y");
  list.Update({"d"});
  task.Snapshot(1);
  task.Key("x");
  list.Update({"e"});
  task.Key("y");
  list.Clear();
  task.Snapshot(2);
  SegmentSet set = Restorable({&task.chain});
  Subtask<std::string> restored({0, 16}, &set);
  List again = List::Open(restored.state, "l");
  restored.Key("x");
  EXPECT_EQ(again.Get(), (Strings{"e"}));
  again.Add("f");
  EXPECT_EQ(again.Get(), (Strings{"e", "f"}));
  restored.Key("y");
  EXPECT_TRUE(again.Empty());
}

}  // namespace
}  // namespace weir
