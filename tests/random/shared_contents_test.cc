// Goal: processes that share a file, each at ranges of its own, see what they wrote themselves and
// lose nothing to each other, now and at each instant; what they append comes whole and once.
//
// Method: several processes on one file of a mounted volume, half of them through a bind mount of
// it, each beside a copy of its ranges in memory. Now and then all stop at once, say what their
// ranges are, and the instant is remembered: at the end, the file at each is the union.
// REWIND_SEED repeats one seed, REWIND_OPS makes the run longer or shorter.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstring>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "fs/store.h"
#include "fs/volume.h"
#include "tests/support/child.h"
#include "tests/support/contents_worker.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/system_clock.h"

namespace rw::testing {
namespace {

constexpr size_t kProcesses = 4;
constexpr uint64_t kFileBytes = 400'000;
constexpr size_t kRanges = 48;
constexpr uint64_t kOperations = 6000;  // of each process
constexpr uint64_t kRounds = 25;
constexpr uint64_t kPage = 4096;

// Who writes how. Programs must not mix O_DIRECT or punching with stores into mappings of the same
// pages, so neither do we.
enum Mix : uint64_t { kMappings, kDirect };

struct Task {
  std::string directory;
  uint64_t seed = 0, process = 0, operations = 0, mix = kMappings;

  std::string Text() const {
    std::ostringstream out;
    out << directory << ' ' << seed << ' ' << process << ' ' << operations << ' ' << mix;
    return out.str();
  }
  static Task Parse(const std::string& text) {
    Task task;
    std::istringstream(text) >> task.directory >> task.seed >> task.process >> task.operations >>
        task.mix;
    return task;
  }
};

struct Range {
  uint64_t from, to;
  uint64_t size() const { return to - from; }
};

// The ranges of one process: every kProcesses-th of some that are cut at random; at pages for
// O_DIRECT, else anywhere, so that processes share pages.
std::vector<Range> RangesOf(const Task& task) {
  Random random(task.seed);
  std::set<uint64_t> cuts = {0, kFileBytes / kPage * kPage};
  while (cuts.size() <= kRanges) {
    const uint64_t cut = random.Below(kFileBytes);
    cuts.insert(task.mix == kDirect ? cut / kPage * kPage : cut);
  }
  std::vector<Range> ranges;
  uint64_t number = 0;
  for (auto cut = cuts.begin(); std::next(cut) != cuts.end(); ++cut, ++number) {
    if (number % kProcesses == task.process) ranges.push_back({*cut, *std::next(cut)});
  }
  return ranges;
}

size_t HashOfRanges(const std::vector<Range>& ranges, const std::string& bytes) {
  std::string all;
  for (const Range& range : ranges) all += bytes.substr(range.from, range.size());
  return HashOfContents(all);
}

// --- a process that works ---

class RangesWorker {
 public:
  explicit RangesWorker(const Task& task)
      : mix_(task.mix),
        ranges_(RangesOf(task)),
        random_(task.seed + 100 + task.process),
        shadow_(kFileBytes, '\0') {
    const std::string path = task.directory + "/file";
    fd_ = open(path.c_str(), O_RDWR | O_CLOEXEC);
    direct_fd_ = open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
    mapping_ =
        static_cast<char*>(mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
  }
  ~RangesWorker() {
    munmap(mapping_, kFileBytes);
    close(fd_);
    close(direct_fd_);
  }
  RangesWorker(const RangesWorker&) = delete;
  RangesWorker& operator=(const RangesWorker&) = delete;

  // Returns what is wrong, or an empty string.
  std::string Step() {
    const Range& whole = random_.PickFrom(ranges_);
    const uint64_t from = whole.from + random_.Below(whole.size());
    const Range part{from, from + 1 + random_.Below(std::min<uint64_t>(whole.to - from, 9000))};
    const uint64_t draw = random_.Below(100);
    if (draw < 30) return Read(part);
    if (draw < 35) return Check(posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED) == 0, "fadvise");
    if (mix_ == kDirect && draw < 55) return WriteDirect(whole);
    if (mix_ == kDirect && draw < 62) return Punch(whole);
    const std::string data = random_.Bytes(part.size());
    Keep(part, data);
    if (mix_ == kMappings && draw < 70) {
      memcpy(mapping_ + part.from, data.data(), data.size());
      if (!random_.OneIn(8)) return {};
      return Check(msync(mapping_, kFileBytes, MS_SYNC) == 0, "msync");
    }
    return Check(pwrite(fd_, data.data(), data.size(), static_cast<off_t>(part.from)) ==
                     static_cast<ssize_t>(data.size()),
                 "write");
  }

  std::string Sync() { return Check(fsync(fd_) == 0, "fsync"); }
  size_t hash() const { return HashOfRanges(ranges_, shadow_); }

 private:
  static std::string Check(bool done, const char* what) {
    return done ? "" : std::string(what) + ": " + strerror(errno);
  }

  void Keep(const Range& range, const std::string& data) {
    shadow_.replace(range.from, range.size(), data);
  }

  std::string Read(const Range& part) {
    std::string bytes(part.size(), '#');
    const bool mapped = random_.OneIn(2);
    if (mapped) {
      memcpy(bytes.data(), mapping_ + part.from, bytes.size());
    } else if (pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(part.from)) !=
               static_cast<ssize_t>(bytes.size())) {
      return Check(false, "read");
    }
    const auto expected = std::string_view(shadow_).substr(part.from, part.size());
    const auto wrong = std::mismatch(bytes.begin(), bytes.end(), expected.begin());
    if (wrong.first == bytes.end()) return {};
    return (mapped ? "the mapping of " : "reading ") + std::to_string(part.from) + "+" +
           std::to_string(part.size()) + " is wrong from " +
           std::to_string(part.from + static_cast<uint64_t>(wrong.first - bytes.begin())) + " on";
  }

  std::string WriteDirect(const Range& whole) {
    const std::string data = random_.Bytes(whole.size());
    Keep(whole, data);
    std::unique_ptr<char, decltype(&free)> aligned(
        static_cast<char*>(aligned_alloc(kPage, data.size())), &free);
    memcpy(aligned.get(), data.data(), data.size());
    const auto offset = static_cast<off_t>(whole.from);
    if (pwrite(direct_fd_, aligned.get(), data.size(), offset) !=
        static_cast<ssize_t>(data.size())) {
      return Check(false, "direct write");
    }
    if (pread(direct_fd_, aligned.get(), data.size(), offset) != static_cast<ssize_t>(data.size()))
      return Check(false, "direct read");
    return memcmp(aligned.get(), data.data(), data.size()) == 0 ? "" : "a direct read is wrong";
  }

  std::string Punch(const Range& whole) {
    Keep(whole, std::string(whole.size(), '\0'));
    return Check(fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           static_cast<off_t>(whole.from), static_cast<off_t>(whole.size())) == 0,
                 "punch");
  }

  const uint64_t mix_;
  const std::vector<Range> ranges_;
  Random random_;
  std::string shadow_;  // only its own ranges mean something
  int fd_ = -1, direct_fd_ = -1;
  char* mapping_ = nullptr;
};

std::string Work(const Task& task, Messages& line) {
  RangesWorker worker(task);
  for (uint64_t i = 1; i <= task.operations; ++i) {
    if (std::string problem = worker.Step(); !problem.empty())
      return "operation " + std::to_string(i) + ": " + problem;
    if (i % (task.operations / kRounds) != 0) continue;
    if (std::string problem = worker.Sync(); !problem.empty()) return problem;
    line.Send("quiet " + std::to_string(worker.hash()));
    line.Receive();
  }
  return "done";
}

TEST(SharedContentsChild, DISABLED_Ranges) {
  auto line = LineToParent();
  if (!line) GTEST_SKIP() << "only as a child of SharedContentsTest";
  line->Send(Work(Task::Parse(line->Receive().value_or("")), *line));
}

// A record says whose it is and which, and how many bytes follow; those follow from the rest.
std::string RecordOf(uint64_t process, uint64_t number) {
  Random random(process * 1'000'000 + number);
  const std::string data = random.Bytes(1 + random.Below(random.OneIn(5) ? 20'000 : 300));
  return "#" + std::to_string(process) + " " + std::to_string(number) + " " +
         std::to_string(data.size()) + "\n" + data;
}

TEST(SharedContentsChild, DISABLED_Append) {
  auto line = LineToParent();
  if (!line) GTEST_SKIP() << "only as a child of SharedContentsTest";
  const Task task = Task::Parse(line->Receive().value_or(""));
  const int fd = open((task.directory + "/file").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  for (uint64_t i = 0; i < task.operations; ++i) {
    const std::string record = RecordOf(task.process, i);
    if (write(fd, record.data(), record.size()) != static_cast<ssize_t>(record.size())) {
      line->Send(std::string("problem: append: ") + strerror(errno));
      return;
    }
  }
  close(fd);
  line->Send("done");
}

// --- the process that has the volume ---

class SharedContentsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounts, needs root";
    std::cout << "seed " << seed_ << std::endl;
    store_ = Store::Open({dir_.path() / "root", SystemNanoseconds});
    CreateRequest request;
    request.name = "volume";
    store_->Create(request);
    mounted_.emplace(*store_, "volume");
    const int fd =
        open((mounted_->path() + "/file").c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    ASSERT_GE(fd, 0);
    close(fd);
    ASSERT_EQ(mount(mounted_->path().c_str(), bound_.path().c_str(), nullptr, MS_BIND, nullptr), 0);
  }
  void TearDown() override { Unmount(); }

  void Unmount() {
    if (!mounted_) return;
    umount2(bound_.path().c_str(), 0);
    mounted_.reset();
  }

  Task TaskOf(uint64_t process, uint64_t operations, uint64_t mix) const {
    return {process % 2 == 0 ? mounted_->path() : bound_.path().string(), seed_, process,
            operations, mix};
  }

  std::vector<Child> StartAll(const std::string& test, uint64_t operations, uint64_t mix) {
    std::vector<Child> children;
    for (uint64_t process = 0; process < kProcesses; ++process) {
      children.emplace_back(test);
      children.back().Send(TaskOf(process, operations, mix).Text());
    }
    return children;
  }

  std::string Contents(Volume& view) {
    const auto found = view.Lookup(kRootIno, "file");
    std::string bytes(found ? found->inode.size : 0, '#');
    if (found) view.Read(found->ino, 0, bytes);
    return bytes;
  }

  struct Moment {
    Instant at;
    std::vector<size_t> hashes;  // of each process
  };

  // Whose ranges are not what they were.
  std::string Check(Volume& view, const Moment& moment, uint64_t mix) {
    std::string bytes = Contents(view);
    if (bytes.size() != kFileBytes) return "another size";
    for (uint64_t process = 0; process < kProcesses; ++process) {
      if (HashOfRanges(RangesOf(TaskOf(process, 0, mix)), bytes) != moment.hashes[process])
        return "process " + std::to_string(process) + " wrote something else, at " +
               std::to_string(moment.at.ns);
    }
    return {};
  }

  // Lets them work to their end. `problem` is the first that any has.
  std::vector<Moment> Serve(std::vector<Child>& children, std::string* problem) {
    std::vector<Moment> moments;
    for (;;) {
      Moment moment;
      size_t done = 0;
      for (Child& child : children) {
        const std::string message = child.Receive();
        done += message == "done" ? 1 : 0;
        if (message.starts_with("quiet ")) {
          moment.hashes.push_back(std::stoull(message.substr(6)));
        } else if (message != "done") {
          *problem = message;
          return moments;
        }
      }
      if (done == children.size()) return moments;
      moment.at = store_->Now();
      moments.push_back(moment);
      for (Child& child : children) child.Send("go on");
    }
  }

  void RunRanges(uint64_t mix) {
    ASSERT_EQ(truncate((mounted_->path() + "/file").c_str(), kFileBytes), 0);
    auto children =
        StartAll("SharedContentsChild.DISABLED_Ranges",
                 NumberFromEnvironment("REWIND_OPS", kOperations) / kRounds * kRounds, mix);
    std::string problem;
    const auto moments = Serve(children, &problem);
    ASSERT_EQ(problem, "") << "seed " << seed_;
    ASSERT_EQ(moments.size(), kRounds);
    children.clear();
    ASSERT_EQ(Check(*store_->OpenVolume("volume"), moments.back(), mix), "") << "seed " << seed_;
    for (const Moment& moment : moments) {
      ASSERT_EQ(Check(*store_->OpenAt("volume", moment.at), moment, mix), "") << "seed " << seed_;
    }
  }

  const TempDir dir_, bound_;
  const uint64_t seed_ = NumberFromEnvironment("REWIND_SEED", 1);
  std::unique_ptr<Store> store_;
  std::optional<MountedVolume> mounted_;
};

TEST_F(SharedContentsTest, WritesAndStoresIntoMappingsThatSharePages) { RunRanges(kMappings); }

TEST_F(SharedContentsTest, WritesPastTheCacheAndHolesBesideWrites) { RunRanges(kDirect); }

TEST_F(SharedContentsTest, WhatIsAppendedComesWholeAndOnce) {
  const uint64_t records = NumberFromEnvironment("REWIND_OPS", kOperations) / 4;
  auto children = StartAll("SharedContentsChild.DISABLED_Append", records, 0);
  std::string problem;
  Serve(children, &problem);
  ASSERT_EQ(problem, "");
  children.clear();
  Unmount();
  const std::string bytes = Contents(*store_->OpenVolume("volume"));
  std::map<uint64_t, uint64_t> next;  // number of record, by process
  size_t at = 0;
  while (at < bytes.size()) {
    ASSERT_EQ(bytes[at], '#') << "at " << at;
    const uint64_t process = std::stoull(bytes.substr(at + 1, 4));
    const std::string record = RecordOf(process, next[process]++);
    ASSERT_EQ(bytes.compare(at, record.size(), record), 0) << "at " << at;
    at += record.size();
  }
  for (uint64_t process = 0; process < kProcesses; ++process) EXPECT_EQ(next[process], records);
}

}  // namespace
}  // namespace rw::testing
