#include "api/args.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace weir {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

template <class F>
std::string RefusalOf(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUser);
    return e.what();
  }
  return "";
}

TEST(Args, ValuesComeAsAWordOfTheirOwnBehindAnEqualsSignOrNotAtAll) {
  const Args args = Args::Parse({"--topic", "orders", "--limit=10", "--verbose", "--filter=a=b"});
  EXPECT_EQ(args["topic"], "orders");
  EXPECT_EQ(args.GetInt("limit", 0), 10);
  EXPECT_TRUE(args.GetBool("verbose", false));
  EXPECT_EQ(args["filter"], "a=b");
}

TEST(Args, AnAbsentOneGivesTheFallback) {
  const Args args = Args::Parse({});
  EXPECT_EQ(args.Get("topic", "orders"), "orders");
  EXPECT_EQ(args.GetInt("limit", 7), 7);
  EXPECT_EQ(args.GetDouble("rate", 0.5), 0.5);
  EXPECT_TRUE(args.GetBool("verbose", true));
  EXPECT_FALSE(args.Has("topic"));
}

TEST(Args, NumbersAreReadWholeOrRefusedByName) {
  const Args args = Args::Parse(
      {"--n", "-5", "--x=2.5e3", "--bad", "12x", "--big", "99999999999999999999", "--empty="});
  EXPECT_EQ(args.GetInt("n", 0), -5);
  EXPECT_EQ(args.GetDouble("x", 0), 2500);
  EXPECT_THAT(RefusalOf([&] { args.GetInt("bad", 0); }),
              AllOf(HasSubstr("--bad"), HasSubstr("12x")));
  EXPECT_THAT(RefusalOf([&] { args.GetInt("big", 0); }), HasSubstr("--big"));
  EXPECT_THAT(RefusalOf([&] { args.GetInt("x", 0); }), HasSubstr("2.5e3"));
  EXPECT_THAT(RefusalOf([&] { args.GetDouble("empty", 0); }), HasSubstr("--empty"));
}

TEST(Args, ABoolIsTrueOrFalse) {
  const Args args = Args::Parse({"--a=true", "--b=false", "--c=perhaps"});
  EXPECT_TRUE(args.GetBool("a", false));
  EXPECT_FALSE(args.GetBool("b", true));
  EXPECT_THAT(RefusalOf([&] { args.GetBool("c", false); }),
              AllOf(HasSubstr("--c"), HasSubstr("perhaps")));
}

TEST(Args, ARequiredOneThatIsAbsentIsNamed) {
  EXPECT_THAT(RefusalOf([] { Args::Parse({})["brokers"]; }), HasSubstr("--brokers"));
}

TEST(Args, OneThatIsGivenTwiceIsRefusedByName) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"--rate", "1", "--rate", "2"}, {"--rate=1", "--rate"}}) {
    EXPECT_THAT(RefusalOf([&] { Args::Parse(words); }),
                HasSubstr("job parameter --rate is given twice"));
  }
}

TEST(Args, AWordThatIsNoParameterIsRefused) {
  EXPECT_THAT(RefusalOf([] { Args::Parse({"orders"}); }), HasSubstr("'orders'"));
  EXPECT_THAT(RefusalOf([] { Args::Parse({"--"}); }), HasSubstr("'--'"));
}

TEST(Args, WhatNobodyAskedForIsNamedWithTheNearestOneThatIs) {
  Args args = Args::Parse({"--cuont", "5", "--topic", "orders"});
  args.WatchReads();
  const Args copy = args;  // what the job function is given
  copy.GetInt("count", 0);
  copy.Get("topic", "");
  EXPECT_THAT(args.Unread(), AllOf(HasSubstr("--cuont"), HasSubstr("did you mean --count?")));
  copy.Has("cuont");
  EXPECT_EQ(args.Unread(), "");
}

TEST(Args, AJobMayAllowWhatItDoesNotReadItself) {
  Args args = Args::Parse({"--anything", "goes"});
  args.WatchReads();
  args.AllowUnread();
  EXPECT_EQ(args.Unread(), "");
}

}  // namespace
}  // namespace weir
