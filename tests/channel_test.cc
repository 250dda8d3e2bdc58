// Goal: what a daemon has told its supervisor arrives, also after the daemon's end, and is
// understood by the next one.
// Method: a socket pair whose sending end is closed before anything is received; mounts that go
// through messages as through a supervisor.
#include "plugin/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace rw::testing {
namespace {

class ChannelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends_), 0);
  }
  void TearDown() override {
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }
  void EndSender() {
    close(ends_[1]);
    ends_[1] = -1;
  }

  int ends_[2] = {-1, -1};
};

KeptMount SomeMount() {
  KeptMount mount;
  mount.volume = 7;
  mount.name = "v";
  mount.at = Instant{123};
  mount.mountpoint = "/run/mounts/7@123";
  mount.source = "rewind:v:7@123";
  mount.device = "0:57";
  mount.counts = {{"id", 2}, {"other", 1}};
  mount.unanswered = {{"id", 1}};
  mount.remains.init = std::string("\x68\0\xff\x80", 4);
  mount.remains.device = open("/dev/null", O_RDONLY | O_CLOEXEC);
  mount.remains.board = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  return mount;
}

TEST_F(ChannelTest, MessagesOutliveTheirSender) {
  KeptMount mount = SomeMount();
  ASSERT_TRUE(SendMessage(
      ends_[1], {ChannelMessage::Kind::kPut, EncodeMount(mount, /*with_descriptors=*/true)}));
  ASSERT_TRUE(SendMessage(ends_[1], {ChannelMessage::Kind::kDrop, {"key", "", {}}}));
  EndSender();
  close(mount.remains.device);
  close(mount.remains.board);
  auto put = ReceiveMessage(ends_[0]);
  ASSERT_TRUE(put.has_value());
  EXPECT_EQ(put->kind, ChannelMessage::Kind::kPut);
  ASSERT_EQ(put->entry.descriptors.size(), 2u);
  char byte = 1;
  EXPECT_EQ(read(put->entry.descriptors[0], &byte, 1), 0);
  EXPECT_EQ(read(put->entry.descriptors[1], &byte, 1), 1);
  EXPECT_EQ(byte, 0);
  for (const int descriptor : put->entry.descriptors) close(descriptor);
  const auto drop = ReceiveMessage(ends_[0]);
  ASSERT_TRUE(drop.has_value());
  EXPECT_EQ(drop->kind, ChannelMessage::Kind::kDrop);
  EXPECT_EQ(drop->entry.key, "key");
  EXPECT_FALSE(ReceiveMessage(ends_[0]).has_value());
}

TEST_F(ChannelTest, ALongMessageArrivesWhole) {
  KeptMount mount = SomeMount();
  for (int i = 0; i < 1000; ++i) mount.counts[std::string(64, 'x') + std::to_string(i)] = 1;
  ASSERT_TRUE(SendMessage(ends_[1], {ChannelMessage::Kind::kPut, EncodeMount(mount, false)}));
  const auto put = ReceiveMessage(ends_[0]);
  ASSERT_TRUE(put.has_value());
  EXPECT_EQ(put->entry.value, EncodeMount(mount, false).value);
}

TEST(KeptMountTest, AMountIsUnderstoodWithItsViews) {
  const KeptMount mount = SomeMount();
  const std::vector<KeptMount> decoded =
      DecodeMounts({EncodeMount(mount, true), EncodeView(mount.mountpoint, 3, Instant{99}),
                    EncodeView("/elsewhere", 4, Instant{98})});
  ASSERT_EQ(decoded.size(), 1u);
  const KeptMount& same = decoded.front();
  EXPECT_EQ(same.volume, mount.volume);
  EXPECT_EQ(same.name, mount.name);
  EXPECT_EQ(same.at, mount.at);
  EXPECT_EQ(same.mountpoint, mount.mountpoint);
  EXPECT_EQ(same.source, mount.source);
  EXPECT_EQ(same.device, mount.device);
  EXPECT_EQ(same.counts, mount.counts);
  EXPECT_EQ(same.unanswered, mount.unanswered);
  EXPECT_EQ(same.remains.init, mount.remains.init);
  EXPECT_EQ(same.remains.device, mount.remains.device);
  EXPECT_EQ(same.remains.board, mount.remains.board);
  EXPECT_EQ(same.remains.views, (std::map<uint64_t, Instant>{{3, Instant{99}}}));
  close(mount.remains.device);
  close(mount.remains.board);
}

TEST(KeptMountTest, WhatIsNotUnderstoodEnds) {
  const int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_TRUE(DecodeMounts({{"/mount", "{}", {descriptor}}}).empty());
  EXPECT_EQ(fcntl(descriptor, F_GETFD), -1);
}

}  // namespace
}  // namespace rw::testing
