#include "cli/silence_watch.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <vector>

namespace weir::cli {
namespace {

using std::chrono::milliseconds;

constexpr SilenceWatch::Options kQuick{
    .interval = milliseconds(1), .patience = milliseconds(10), .limit = milliseconds(100)};

TEST(SilenceWatchTest, SilenceIsToldSeldomerAndSeldomerAndThenGivenUpOnce) {
  std::promise<void> given_up;  // a second call would throw
  std::vector<milliseconds> told;
  {
    const SilenceWatch watch(
        kQuick, {.answers = [] { return false; },
                 .tell = [&](std::optional<milliseconds> silent) { told.push_back(*silent); },
                 .give_up = [&] { given_up.set_value(); }});
    given_up.get_future().wait();
  }
  ASSERT_FALSE(told.empty());
  EXPECT_GE(told.front(), kQuick.patience);
  for (size_t i = 1; i < told.size(); ++i) EXPECT_GE(told[i], 2 * told[i - 1]);
}

TEST(SilenceWatchTest, AnAnswerIsToldAfterSilenceAndThePatienceBeginsAnew) {
  enum { kSilent, kAnswers, kSilentAgain, kDone } phase = kSilent;  // of the watch's thread
  std::promise<void> done;
  {
    SilenceWatch::Options patient = kQuick;
    patient.limit = std::chrono::hours(1);
    const SilenceWatch watch(patient,
                             {.answers = [&] { return phase == kAnswers || phase == kDone; },
                              .tell =
                                  [&](std::optional<milliseconds> silent) {
                                    if (phase == kSilent && silent) {
                                      phase = kAnswers;
                                    } else if (phase == kAnswers && !silent) {
                                      phase = kSilentAgain;
                                    } else if (phase == kSilentAgain && silent) {
                                      phase = kDone;
                                      done.set_value();
                                    }
                                  },
                              .give_up = [] {}});
    done.get_future().wait();
  }
  EXPECT_EQ(phase, kDone);
}

TEST(SilenceWatchTest, WhileThereAreAnswersNothingIsSaid) {
  std::promise<void> asked;
  int times = 0;  // of the watch's thread
  {
    const SilenceWatch watch(kQuick, {.answers =
                                          [&] {
                                            if (++times == 50) asked.set_value();
                                            return true;
                                          },
                                      .tell = [](std::optional<milliseconds>) { FAIL(); },
                                      .give_up = [] { FAIL(); }});
    asked.get_future().wait();
  }
  EXPECT_GE(times, 50);
}

}  // namespace
}  // namespace weir::cli
