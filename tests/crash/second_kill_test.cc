// Goal: a request that no daemon had begun when its daemon was killed is done once, even if the
// next daemon is killed too, after it has done it and before it has answered.
//
// Method: the test is the supervisor. It holds a mount whose daemon (a process of its own) it has
// killed, and receives the request itself, in the way in which that daemon had got it when it died:
// right into the board, or before it was there. The next daemon kills itself when the operation is
// in the journal. The one after that has to answer. The operation is one that is refused when it is
// done twice. No moment is left to chance.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fs/request_board.h"
#include "fs/session.h"
#include "fs/store.h"
#include "fs/volume.h"
#include "plugin/channel.h"
#include "tests/support/child.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/watched_files.h"

namespace rw::testing {
namespace {

constexpr char kRoot[] = "REWIND_TEST_ROOT";
constexpr char kMountpoint[] = "REWIND_TEST_MOUNTPOINT";
constexpr char kWithoutResend[] = "REWIND_WITHOUT_RESEND";
constexpr char kDaemon[] = "SecondKillChild.DISABLED_Daemon";
constexpr int kPatienceMs = 60'000;

bool WaitUntilReadable(int fd) {
  pollfd waiting{fd, POLLIN, 0};
  return poll(&waiting, 1, kPatienceMs) == 1 && (waiting.revents & POLLIN) != 0;
}

std::unique_ptr<Store> OpenStore(WatchedFiles* files) {
  StoreOptions options(std::getenv(kRoot), SystemNanoseconds, files);
  options.collector.background = false;
  return Store::Open(std::move(options));
}

// A daemon as far as one mount is concerned. "mount" makes it and hands it to the parent; "go on"
// and "go on and die" take what the parent sends.
TEST(SecondKillChild, DISABLED_Daemon) {
  auto line = LineToParent();
  if (!line) GTEST_SKIP() << "only as a child of SecondKillTest";
  const std::string task = line->Receive().value_or("");
  if (line->Receive().value_or("") == kWithoutResend) setenv(kWithoutResend, "1", 1);
  WatchedFiles files;
  const auto store = OpenStore(&files);
  SessionOptions options;
  options.mountpoint = std::getenv(kMountpoint);
  options.source = "rewind:v:1";
  if (task == "mount") {
    CreateRequest request;
    request.name = "v";
    store->Create(request);
  } else {
    ASSERT_TRUE(WaitUntilReadable(line->fd()));
    const auto message = ReceiveMessage(line->fd());
    ASSERT_TRUE(message.has_value());
    options.inherited = DecodeMounts({message->entry}).at(0).remains;
  }
  if (task == "go on and die") {
    files.after_write = [](const std::string& path) {
      if (path.find("/journal/") != path.npos) kill(getpid(), SIGKILL);
    };
  }
  const auto session = Session::Mount(store->OpenVolume("v"), options);
  if (task == "mount") {
    KeptMount mount;
    mount.mountpoint = options.mountpoint;
    mount.remains = session->remains().value();
    SendMessage(line->fd(), {ChannelMessage::Kind::kPut, EncodeMount(mount, true)});
  }
  line->Receive();  // until the parent is done with it
}

class SecondKillTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    std::filesystem::create_directory(mountpoint());
    setenv(kRoot, (directory_.path() / "root").c_str(), 1);
    setenv(kMountpoint, mountpoint().c_str(), 1);
    MountAndKill();
  }
  void TearDown() override {
    second_.reset();
    third_.reset();
    EndMount();
    if (answer_.valid()) answer_.get();  // it has ended with the mount at the latest
    if (file_ >= 0) close(file_);
  }

  std::string mountpoint() const { return directory_.path() / "mount"; }

  void MountAndKill() {
    Child first(kDaemon);
    first.Send("mount");
    first.Send("");
    ASSERT_TRUE(WaitUntilReadable(first.fd()));
    const auto message = ReceiveMessage(first.fd());
    ASSERT_TRUE(message.has_value());
    kept_ = message->entry;
    ASSERT_EQ(kept_.descriptors.size(), 2u) << "the daemon did not mount";
    // Before there is an open file: a new process closes its copy of that, which the kernel tells
    // the daemon, and waits.
    second_.emplace(kDaemon);
    third_.emplace(kDaemon);
    file_ = open((mountpoint() + "/file").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ASSERT_GE(file_, 0);
    WaitUntilClear();
  }

  // A daemon that is killed right after a reply leaves the request on the board.
  void WaitUntilClear() const {
    const RequestBoard shared(dup(board()));
    for (int ms = 0; shared.EarliestEnd().has_value() && ms < kPatienceMs; ++ms) usleep(1000);
    ASSERT_FALSE(shared.EarliestEnd().has_value());
  }

  int device() const { return kept_.descriptors.at(0); }
  int board() const { return kept_.descriptors.at(1); }

  // One request and no other: everything else the kernel has asked before.
  void Ask() {
    answer_ = std::async(std::launch::async, [file = file_] {
      return fsetxattr(file, "user.a", "1", 1, XATTR_CREATE) == 0 ? 0 : errno;
    });
    ASSERT_TRUE(WaitUntilReadable(device()));
  }

  void ReceiveOntoTheBoard() {
    RequestBoard board(dup(this->board()));
    RequestBoard::Slot& slot = board.Prepare(3);
    ASSERT_GT(read(device(), slot.request.data(), slot.request.size()), 0);
  }

  // As one that was received when its request had just been answered: libfuse tells the kernel with
  // the next request that it does not know what it is of.
  void LeaveALateInterruptOnTheBoard() {
    struct {
      fuse_in_header header;
      fuse_interrupt_in body;
    } interrupt{};
    constexpr uint64_t kNeverUsed = uint64_t{1} << 40;
    interrupt.header.len = sizeof(interrupt);
    interrupt.header.opcode = FUSE_INTERRUPT;
    interrupt.header.unique = kNeverUsed | 1;
    interrupt.body.unique = kNeverUsed;
    RequestBoard board(dup(this->board()));
    std::memcpy(board.Prepare(3).request.data(), &interrupt, sizeof(interrupt));
  }

  void GoOn(Child& daemon, const std::string& task) {
    daemon.Send(task);
    daemon.Send(resends_ ? "" : kWithoutResend);
    SendMessage(daemon.fd(), {ChannelMessage::Kind::kPut, kept_});
  }

  void ADaemonDoesItAndIsKilled() {
    GoOn(*second_, "go on and die");
    EXPECT_EQ(second_->Receive(), "problem: the child ended by itself, with status 9");
    EXPECT_EQ(answer_.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  }

  void TheNextAnswers() {
    GoOn(*third_, "go on");
    ASSERT_EQ(answer_.wait_for(std::chrono::milliseconds(kPatienceMs)), std::future_status::ready)
        << "lost";
    EXPECT_EQ(std::strerror(answer_.get()), std::string(std::strerror(0)));
    char value = 0;
    EXPECT_EQ(fgetxattr(file_, "user.a", &value, 1), 1);
    close(std::exchange(file_, -1));  // while somebody serves what that asks for
  }

  void EndMount() {
    umount2(mountpoint().c_str(), MNT_DETACH);
    for (const int descriptor : kept_.descriptors) close(descriptor);
    kept_.descriptors.clear();
  }

  TempDir directory_;
  KeptEntry kept_;
  std::optional<Child> second_, third_;
  bool resends_ = true;
  int file_ = -1;
  std::future<int> answer_;
};

TEST_F(SecondKillTest, ARequestOnTheBoardThatWasNotBegunIsDoneOnce) {
  Ask();
  ReceiveOntoTheBoard();
  ADaemonDoesItAndIsKilled();
  TheNextAnswers();
}

TEST_F(SecondKillTest, ARequestOnTheBoardIsDoneOnceOnKernelsThatDoNotSendAgain) {
  resends_ = false;
  Ask();
  ReceiveOntoTheBoard();
  ADaemonDoesItAndIsKilled();
  TheNextAnswers();
}

TEST_F(SecondKillTest, ARequestThatDidNotReachTheBoardIsDoneOnce) {
  Ask();
  std::string lost(RequestBoard::kBufferBytes, '\0');
  ASSERT_GT(read(device(), lost.data(), lost.size()), 0);
  ADaemonDoesItAndIsKilled();
  TheNextAnswers();
}

TEST_F(SecondKillTest, ARequestThatNobodyReceivedIsDoneOnce) {
  Ask();
  ADaemonDoesItAndIsKilled();
  TheNextAnswers();
}

TEST_F(SecondKillTest, WhatIsSaidOfAnInterruptIsNotTakenForTheAnswerOfARequest) {
  resends_ = false;
  LeaveALateInterruptOnTheBoard();
  Ask();
  ADaemonDoesItAndIsKilled();
  TheNextAnswers();
}

}  // namespace
}  // namespace rw::testing
