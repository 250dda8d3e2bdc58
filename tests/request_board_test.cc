// Goal: who takes over a board sees what was begun and not cleared, and nothing else.
// Method: two boards over the same memory, as an earlier and a later daemon have them.
#include "fs/request_board.h"

#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "metadata/refused.h"

namespace rw::testing {
namespace {

std::string Request(uint64_t unique, const std::string& body) {
  fuse_in_header header{};
  header.len = static_cast<uint32_t>(sizeof(header) + body.size());
  header.unique = unique;
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof(header));
  return bytes + body;
}

class RequestBoardTest : public ::testing::Test {
 protected:
  RequestBoard::Slot& Receive(size_t thread, const std::string& request) {
    RequestBoard::Slot& slot = earlier_.Prepare(thread);
    std::memcpy(slot.request.data(), request.data(), request.size());
    return slot;
  }

  static uint64_t BytesOf(const RequestBoard& board) {
    struct stat status {};
    fstat(board.fd(), &status);
    return static_cast<uint64_t>(status.st_blocks) * 512;
  }

  RequestBoard earlier_;
  RequestBoard later_{dup(earlier_.fd())};
};

TEST_F(RequestBoardTest, NothingIsLeftOfAnEmptyOne) {
  EXPECT_TRUE(later_.Leftovers().empty());
  EXPECT_FALSE(later_.EarliestEnd().has_value());
}

TEST_F(RequestBoardTest, WhatWasBegunIsLeft) {
  Receive(3, Request(8, "late")).Begin({2, 100});
  Receive(1, Request(6, "early")).Begin({1, 4000});
  EXPECT_EQ(later_.EarliestEnd(), (JournalPosition{1, 4000}));
  const auto leftovers = later_.Leftovers();
  ASSERT_EQ(leftovers.size(), 2u);
  EXPECT_EQ(leftovers[0].slot, 1u);
  EXPECT_EQ(leftovers[0].request, Request(6, "early"));
  EXPECT_EQ(leftovers[1].request, Request(8, "late"));
  EXPECT_FALSE(leftovers[1].answer.has_value());
}

TEST_F(RequestBoardTest, WhatWasReceivedAndNotBegunIsLeftButWroteNothing) {
  Receive(0, Request(2, ""));
  EXPECT_EQ(later_.Leftovers().size(), 1u);
  EXPECT_FALSE(later_.EarliestEnd().has_value());
}

TEST_F(RequestBoardTest, AnAnswerIsLeftWithItsRequest) {
  RequestBoard::Slot& slot = Receive(0, Request(2, ""));
  slot.Begin({1, 64});
  fuse_out_header answer{sizeof(answer), -EEXIST, 2};
  slot.Answer(&answer);
  const auto leftovers = later_.Leftovers();
  ASSERT_EQ(leftovers.size(), 1u);
  ASSERT_TRUE(leftovers[0].answer.has_value());
  EXPECT_EQ(std::memcmp(leftovers[0].answer->data(), &answer, sizeof(answer)), 0);
}

TEST_F(RequestBoardTest, WhatWasClearedIsGone) {
  RequestBoard::Slot& slot = Receive(0, Request(2, ""));
  slot.Begin({1, 64});
  slot.Clear();
  Receive(5, Request(4, "")).Begin({1, 128});
  later_.Clear(5);
  EXPECT_TRUE(later_.Leftovers().empty());
  EXPECT_FALSE(later_.EarliestEnd().has_value());
}

TEST_F(RequestBoardTest, WhoGoesOnSaysWhereTheJournalEndsOfWhatWasNotBegun) {
  Receive(2, Request(2, "received"));
  later_.BeginAll({3, 64});
  EXPECT_EQ(later_.EarliestEnd(), (JournalPosition{3, 64}));
  const auto leftovers = later_.Leftovers();
  ASSERT_EQ(leftovers.size(), 1u);
  EXPECT_EQ(leftovers[0].request, Request(2, "received"));
  // A third one looks as far back, not to where it begins itself.
  RequestBoard third(dup(later_.fd()));
  third.BeginAll({4, 64});
  EXPECT_EQ(third.EarliestEnd(), (JournalPosition{3, 64}));
}

TEST_F(RequestBoardTest, WhatWasBegunStaysAsItWas) {
  Receive(0, Request(2, "begun")).Begin({1, 64});
  RequestBoard::Slot& answered = Receive(1, Request(4, "answered"));
  answered.Begin({1, 128});
  const fuse_out_header answer{sizeof(answer), -EEXIST, 4};
  answered.Answer(&answer);
  later_.BeginAll({3, 64});
  EXPECT_EQ(later_.EarliestEnd(), (JournalPosition{1, 64}));
  ASSERT_EQ(later_.Leftovers().size(), 2u);
  EXPECT_TRUE(later_.Leftovers()[1].answer.has_value());
}

TEST_F(RequestBoardTest, WhoGoesOnWithAnEmptyOneLeavesAMarkThatIsNoRequest) {
  later_.BeginAll({3, 64});
  EXPECT_EQ(earlier_.EarliestEnd(), (JournalPosition{3, 64}));
  EXPECT_TRUE(earlier_.Leftovers().empty());
  earlier_.BeginAll({4, 64});
  EXPECT_EQ(later_.EarliestEnd(), (JournalPosition{3, 64}));
  later_.ClearAll();
  EXPECT_FALSE(earlier_.EarliestEnd().has_value());
}

TEST_F(RequestBoardTest, WhatWasGivenBackIsNoRequestAndTakesNoMemory) {
  const uint64_t empty = BytesOf(earlier_);
  Receive(0, Request(2, std::string(1 << 20, 'x'))).Begin({1, 64});
  Receive(7, Request(4, "stays")).Begin({1, 128});
  const uint64_t received = BytesOf(earlier_);
  EXPECT_GE(received, empty + 2 * RequestBoard::kBufferBytes);
  EXPECT_FALSE(earlier_.IsIdle(0));
  earlier_.GiveBack(0);
  EXPECT_LE(BytesOf(earlier_), received - RequestBoard::kBufferBytes);
  EXPECT_TRUE(earlier_.IsIdle(0));
  const auto leftovers = later_.Leftovers();
  ASSERT_EQ(leftovers.size(), 1u);
  EXPECT_EQ(leftovers[0].request, Request(4, "stays"));
  EXPECT_EQ(later_.EarliestEnd(), (JournalPosition{1, 128}));
  earlier_.Prepare(0);
  EXPECT_GE(BytesOf(earlier_), received);
}

TEST_F(RequestBoardTest, WhoGoesOnKeepsNoMemoryOfThreadsThatAreNoMore) {
  for (size_t thread = 0; thread < RequestBoard::kSlots; ++thread) Receive(thread, Request(2, ""));
  later_.ClearAll();
  EXPECT_LT(BytesOf(later_), RequestBoard::kBufferBytes);
}

TEST_F(RequestBoardTest, MemoryOfAnotherKindIsRefused) {
  const int fd = memfd_create("other", MFD_CLOEXEC);
  EXPECT_THROW(RequestBoard board(fd), Refused);
}

}  // namespace
}  // namespace rw::testing
