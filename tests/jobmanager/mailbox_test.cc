#include "jobmanager/mailbox.h"

#include <gtest/gtest.h>

#include <vector>

namespace weir::jobmanager {
namespace {

TEST(MailboxTest, LettersComeInOrder) {
  Mailbox mailbox;
  std::vector<int> read;
  mailbox.Post([&] { read.push_back(1); });
  ASSERT_TRUE(mailbox.PostFromClient([&] { read.push_back(2); }));
  mailbox.Post([&] { read.push_back(3); });
  while (Mailbox::Letter letter = mailbox.Take(std::chrono::nanoseconds(0))) letter();
  EXPECT_EQ(read, (std::vector<int>{1, 2, 3}));
}

TEST(MailboxTest, TooManyClientsAreRefusedWhileAnswersStillComeIn) {
  Mailbox mailbox;
  for (size_t i = 0; i < Mailbox::kMaxClientLetters; ++i) {
    ASSERT_TRUE(mailbox.PostFromClient([] {}));
  }
  EXPECT_FALSE(mailbox.PostFromClient([] {}));
  mailbox.Post([] {});
  (void)mailbox.Take(std::chrono::nanoseconds(0));
  EXPECT_TRUE(mailbox.PostFromClient([] {})) << "one was read";
}

}  // namespace
}  // namespace weir::jobmanager
