// Goal: whoever reads a volume's events gets every operation that was acknowledged, exactly once
// and in order, with what it did: after rollbacks, on clones, after restarts, while segments are
// collected and where a record is damaged; and a look at a moment costs what lies there, not all
// that came before.
//
// Method: random operations on volumes with small segments; what the volumes acknowledged is kept
// beside them and compared with the events, over all of the history and over random parts of it.
// REWIND_SEED repeats one seed, REWIND_OPS makes the run longer.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <iostream>
#include <sstream>
#include <thread>

#include "fs/event_log.h"
#include "fs/segment.h"
#include "fs/store.h"
#include "metadata/refused.h"
#include "tests/support/manual_clock.h"
#include "tests/support/random_operations.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/twin.h"
#include "tests/support/watched_files.h"

namespace rw::testing {
namespace {

struct Done {
  Instant at;
  RecordType type = RecordType::kWrite;
  uint32_t uid = 0;
  uint64_t offset = 0, length = 0;  // of a write
  friend bool operator==(const Done&, const Done&) = default;
};

void PrintTo(const Done& done, std::ostream* out) {
  *out << done.at.ns << ": type " << static_cast<int>(done.type) << ", uid " << done.uid << ", "
       << done.offset << "+" << done.length;
}

RecordType TypeOf(OperationKind kind) {
  switch (kind) {
    case OperationKind::kCreate:
      return RecordType::kCreate;
    case OperationKind::kCreateUnnamed:
      return RecordType::kCreateUnnamed;
    case OperationKind::kUnlink:
      return RecordType::kUnlink;
    case OperationKind::kRmdir:
      return RecordType::kRmdir;
    case OperationKind::kRename:
      return RecordType::kRename;
    case OperationKind::kLink:
      return RecordType::kLink;
    case OperationKind::kSetAttr:
      return RecordType::kSetAttr;
    case OperationKind::kWrite:
      return RecordType::kWrite;
    case OperationKind::kFallocate:
      return RecordType::kFallocate;
    case OperationKind::kCopyRange:
      return RecordType::kCopyRange;
    case OperationKind::kSetXattr:
      return RecordType::kSetXattr;
    case OperationKind::kRemoveXattr:
      return RecordType::kRemoveXattr;
    case OperationKind::kForget:
      return RecordType::kForget;
  }
  __builtin_unreachable();
}

Done DoneOf(const Event& event) {
  Done done{event.at, event.type, event.body.uid, 0, 0};
  if (event.type == RecordType::kWrite) {
    done.offset = event.body.offset;
    done.length = event.body.length;
    EXPECT_EQ(event.data_bytes, done.length);
  }
  return done;
}

// The events of a part of the history; forgetting is nobody's operation.
std::vector<Done> Read(Store& store, const std::string& name, EventQuery query = {},
                       EventsRead* read = nullptr) {
  std::vector<Done> list;
  Instant last;
  const EventsRead result = store.ReadEvents(name, query, [&](const Event& event) {
    EXPECT_LT(last, event.at) << "instants increase";
    EXPECT_GE(event.at, query.from);
    EXPECT_LE(event.at, query.until);
    last = event.at;
    if (event.type != RecordType::kForget) list.push_back(DoneOf(event));
    return true;
  });
  if (read != nullptr) *read = result;
  return list;
}

class EventsTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  struct Member {
    Twin twin;
    std::vector<Done> done;
  };

  void SetUp() override {
    seed_ = NumberFromEnvironment("REWIND_SEED", GetParam());
    std::cout << "seed " << seed_ << std::endl;
    random_ = Random(seed_);
    operations_.emplace(seed_ + 1, OperationProfile{.max_write = 20'000});
    Open();
    Add("v", SourceKind::kNone);
  }
  void TearDown() override { members_.clear(); }

  void Open() {
    StoreOptions options(dir_.path() / "root", SystemNanoseconds);
    options.max_segment_bytes = kMinSegmentBytes;
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    store_ = Store::Open(std::move(options));
  }
  void Add(const std::string& name, SourceKind kind, const Member* source = nullptr) {
    CreateRequest request;
    request.name = name;
    request.source_kind = kind;
    if (source != nullptr) {
      request.source = source->twin.name;
      request.at = random_.PickFrom(source->twin.model.instants());
    }
    store_->Create(request);
    const auto record = store_->Find(name);
    const auto volume = store_->OpenVolume(name);
    if (source == nullptr) {
      ReferenceModel model(record->created, *volume->FindInode(kRootIno));
      members_.push_back({{name, volume, std::move(model), {{kModelRoot, kRootIno}}},
                          {{record->created, RecordType::kMakeRoot, 0, 0, 0}}});
      return;
    }
    members_.push_back(
        {{name, volume, ReferenceModel::CloneOf(source->twin.model, *request.at, record->created),
          source->twin.inos},
         {}});
  }
  void Step(Member* member) {
    Operation operation = operations_->Next(member->twin.model);
    const Instant before = member->twin.volume->last_instant();
    ASSERT_EQ(member->twin.Step(operation), "");
    const Instant at = member->twin.volume->last_instant();
    if (at == before || operation.kind == OperationKind::kForget) return;
    Done done{at, TypeOf(operation.kind), operation.caller.uid, 0, 0};
    if (operation.kind == OperationKind::kWrite) {
      done.offset = operation.offset;
      done.length = operation.data.size();
    }
    member->done.push_back(done);
  }
  void RollBack(Member* member) {
    Twin& twin = member->twin;
    const Instant to = random_.PickFrom(twin.model.instants());
    twin.ForgetAll();
    twin.volume.reset();
    CreateRequest request;
    request.name = "before-" + std::to_string(++rollbacks_);
    request.source_kind = SourceKind::kRollback;
    request.source = twin.name;
    request.at = to;
    store_->Create(request);
    twin.model.RollBack(to, store_->Find(twin.name)->bindings.back().since);
    twin.volume = store_->OpenVolume(twin.name);
  }
  void Restart() {
    for (Member& member : members_) {
      member.twin.ForgetAll();
      member.twin.volume.reset();
    }
    store_.reset();
    Open();
    for (Member& member : members_) member.twin.volume = store_->OpenVolume(member.twin.name);
  }
  void CheckAll() {
    for (const Member& member : members_) {
      ASSERT_EQ(Read(*store_, member.twin.name), member.done) << member.twin.name;
      for (int i = 0; i < 5 && !member.done.empty(); ++i) {
        // From an operation, or just beside it, to another.
        const Instant from{random_.PickFrom(member.done).at.ns + random_.Below(3) - 1};
        const Instant until{random_.PickFrom(member.done).at.ns + random_.Below(3) - 1};
        std::vector<Done> expected;
        for (const Done& done : member.done) {
          if (done.at >= from && done.at <= until) expected.push_back(done);
        }
        ASSERT_EQ(Read(*store_, member.twin.name, {from, until, {}, {}}), expected)
            << member.twin.name << " from " << from.ns << " until " << until.ns;
      }
    }
  }

  // The lines count what was done, and what they say of paths is what views show.
  void CheckLog(const std::string& name, const std::vector<Done>& done) {
    uint64_t count = 0;
    Instant last;
    EventLog log(store_.get(), name, [&](const LogLine& line) {
      EXPECT_LE(last, line.at) << "lines come in order";
      last = line.at;
      if (line.event == "rollback" || line.event == "sync") return;
      count += line.count;
      CheckLine(name, line);
    });
    EventQuery query;
    query.begin = [&](const EventsBegin& begin) { log.Begin(begin); };
    const EventsRead read = store_->ReadEvents(name, query, [&](const Event& event) {
      log.Add(event);
      return true;
    });
    log.End(read.until);
    EXPECT_EQ(count, done.size()) << name;
  }
  void CheckLine(const std::string& name, const LogLine& line) {
    const std::string where =
        name + ": " + line.event + " " + line.path + " at " + std::to_string(line.at.ns);
    // What has no name any more, or not yet.
    if (line.path.starts_with('#') || line.path.ends_with(" (deleted)")) {
      ++without_name_;
      return;
    }
    const auto find = [&](const std::string& path, Instant at) -> std::optional<Inode> {
      const auto view = store_->OpenAt(name, at);
      auto inode = view->FindInode(kRootIno);
      Ino ino = kRootIno;
      std::istringstream names(path);
      for (std::string each; std::getline(names, each, '/');) {
        if (each.empty()) continue;
        const auto found = view->Lookup(ino, each);
        if (!found) return std::nullopt;
        ino = found->ino;
        inode = found->inode;
      }
      return inode;
    };
    ++with_name_;
    const Instant before = line.event == "made" ? line.at : Before(line.at);
    if (line.event == "create") {
      EXPECT_FALSE(find(line.path, before)) << where;
      EXPECT_TRUE(find(line.path, line.at)) << where;
    } else if (line.event == "remove" || line.event == "rmdir") {
      EXPECT_TRUE(find(line.path, before)) << where;
      EXPECT_FALSE(find(line.path, line.at)) << where;
    } else if (line.event == "rename" || line.event == "exchange" || line.event == "link") {
      EXPECT_TRUE(find(line.path, before)) << where;
      EXPECT_TRUE(find(line.to, line.at)) << where;
    } else {
      EXPECT_TRUE(find(line.path, before)) << where;
      const auto inode = find(line.path, line.until);
      ASSERT_TRUE(inode) << where;
      if (line.has_size) {
        EXPECT_EQ(inode->size, line.size) << where;
      }
    }
  }

  uint64_t with_name_ = 0, without_name_ = 0;
  uint64_t seed_ = 0;
  Random random_{0};
  std::optional<RandomOperations> operations_;
  TempDir dir_;
  std::unique_ptr<Store> store_;
  std::vector<Member> members_;
  int rollbacks_ = 0;
};

TEST_P(EventsTest, SayEveryOperationOnce) {
  const uint64_t count = NumberFromEnvironment("REWIND_OPS", 1500);
  for (uint64_t i = 0; i < count; ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed_) + ", operation " + std::to_string(i));
    Member& member = members_[random_.Below(members_.size())];
    ASSERT_NO_FATAL_FAILURE(Step(&member));
    if (random_.OneIn(200)) RollBack(&member);
    if (random_.OneIn(400)) Restart();
    if (random_.OneIn(300) && members_.size() < 4) {
      const Member source = members_[random_.Below(members_.size())];
      Add("clone-" + std::to_string(members_.size()), SourceKind::kCloneOf, &source);
    }
    if (i % 250 == 0) {
      ASSERT_NO_FATAL_FAILURE(CheckAll());
    }
  }
  ASSERT_NO_FATAL_FAILURE(CheckAll());
  for (Member& member : members_) {
    member.twin.ForgetAll();
    member.twin.volume.reset();
  }
  ASSERT_NO_FATAL_FAILURE(CheckAll());
  for (const Member& member : members_) CheckLog(member.twin.name, member.done);
  std::cout << with_name_ << " lines with paths, " << without_name_ << " without" << std::endl;
  EXPECT_GT(with_name_, 4 * without_name_);
}

INSTANTIATE_TEST_SUITE_P(Seeds, EventsTest, ::testing::Range<uint64_t>(1, 4));

// --- by hand ---

class EventsByHandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Open();
    CreateRequest request;
    request.name = "v";
    store_->Create(request);
    volume_ = store_->OpenVolume("v");
    file_ = volume_->Create({}, kRootIno, "file", S_IFREG | 0644).ino;
  }
  void Open() {
    StoreOptions options(dir_.path() / "root", clock_.AsFunction(), &files_);
    options.max_segment_bytes = kMinSegmentBytes;
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    options.defaults = {{"retention", "10m"}, {"keep", "none"}};
    store_ = Store::Open(std::move(options));
  }
  Instant Write(uint64_t offset = 0) {
    clock_.Forward(1'000'000);
    volume_->Write({}, file_, offset, std::string(4096, 'x'), false);
    return volume_->last_instant();
  }
  std::filesystem::path SegmentPath(uint32_t number) const {
    return dir_.path() / "root" / "journal" / "1" / SegmentFileName(number);
  }

  TempDir dir_;
  ManualClock clock_;
  WatchedFiles files_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<Volume> volume_;
  Ino file_ = 0;
};

TEST_F(EventsByHandTest, ALookAtAMomentReadsLittle) {
  std::vector<Instant> writes;
  for (int i = 0; i < 2000; ++i) writes.push_back(Write());
  for (const size_t i : {size_t{3}, size_t{1000}, size_t{1998}}) {
    const uint64_t before = files_.bytes_read;
    const auto events = Read(*store_, "v", {writes[i], writes[i + 1], {}, {}});
    ASSERT_EQ(events.size(), 2u);
    EXPECT_LT(files_.bytes_read - before, 4 * kMinSegmentBytes) << "of 8 MiB of journal";
  }
  // Headers only, or nearly: large writes are passed over.
  for (int i = 0; i < 30; ++i) volume_->Write({}, file_, 0, std::string(1 << 20, 'x'), false);
  const uint64_t before = files_.bytes_read;
  Read(*store_, "v", {Instant{writes.back().ns + 1}, kInstantMax, {}, {}});
  EXPECT_LT(files_.bytes_read - before, 1u << 20) << "of 30 MiB of journal";
}

TEST_F(EventsByHandTest, WhatIsCollectedWhileItIsReadIsSaidToBeMissing) {
  std::vector<Instant> writes;
  for (int i = 0; i < 200; ++i) writes.push_back(Write(4096u * (i % 8)));
  clock_.Forward(8 * 60 * ManualClock::kSecond);
  for (int i = 0; i < 200; ++i) writes.push_back(Write(4096u * (i % 8)));
  std::vector<Instant> seen;
  const EventsRead read =
      store_->ReadEvents("v", {writes[0], kInstantMax, {}, {}}, [&](const Event& event) {
        seen.push_back(event.at);
        if (seen.size() == 5) {
          clock_.Forward(5 * 60 * ManualClock::kSecond);
          store_->Collect();
        }
        return true;
      });
  ASSERT_GT(seen.size(), 200u);
  EXPECT_EQ(seen[0], writes[0]);
  EXPECT_GT(read.begins, writes[5]) << "collected meanwhile";
  EXPECT_LE(read.begins, writes[200]);
  EXPECT_TRUE(read.holes.empty());
  // From `begins` on, everything is there.
  const auto first = std::lower_bound(writes.begin(), writes.end(), read.begins);
  const auto from = std::lower_bound(seen.begin(), seen.end(), read.begins);
  EXPECT_EQ(std::vector<Instant>(from, seen.end()), std::vector<Instant>(first, writes.end()));
  // Asked again, it begins with the horizon.
  EventsRead again;
  const auto kept = Read(*store_, "v", {}, &again);
  EXPECT_EQ(again.begins, store_->Find("v")->horizon);
  EXPECT_EQ(kept.size(), 200u);
}

TEST_F(EventsByHandTest, ADamagedRecordIsAHole) {
  std::vector<Instant> writes;
  for (int i = 0; i < 60; ++i) writes.push_back(Write());
  volume_.reset();
  store_.reset();
  // The header of some record in the middle: a write's begins where its instant is found.
  const int fd = open(SegmentPath(2).c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::string bytes(kMinSegmentBytes * 2, '\0');
  bytes.resize(static_cast<size_t>(pread(fd, bytes.data(), bytes.size(), 0)));
  size_t damaged = 0, at = std::string::npos;
  for (size_t i = 0; i + 1 < writes.size() && at == std::string::npos; ++i) {
    // The first place only: that of the segment's first record is in all the others' headers, too.
    at = bytes.find(std::string(reinterpret_cast<const char*>(&writes[i].ns), 8));
    if (at < 4 * 4096) at = std::string::npos;
    damaged = i;
  }
  ASSERT_NE(at, std::string::npos);
  const char flipped = static_cast<char>(bytes[at] ^ 1);
  ASSERT_EQ(pwrite(fd, &flipped, 1, static_cast<off_t>(at)), 1);
  close(fd);
  Open();
  EventsRead read;
  const auto events = Read(*store_, "v", {writes[0], kInstantMax, {}, {}}, &read);
  std::vector<Instant> seen;
  for (const Done& done : events) seen.push_back(done.at);
  std::vector<Instant> expected = writes;
  expected.erase(expected.begin() + static_cast<ptrdiff_t>(damaged));
  EXPECT_EQ(seen, expected);
  ASSERT_EQ(read.holes.size(), 1u);
  EXPECT_EQ(read.holes[0].after, writes[damaged - 1]);
  EXPECT_EQ(read.holes[0].before, writes[damaged + 1]);
}

TEST_F(EventsByHandTest, ReadersWhoGoOnFromWhereTheyWereMissNothing) {
  // Writers are at work; each look begins after the last instant of the one before.
  std::atomic<bool> stop{false};
  std::vector<std::vector<Instant>> written(3);
  std::vector<std::thread> writers;
  for (size_t t = 0; t < written.size(); ++t) {
    writers.emplace_back([&, t] {
      const Ino own = volume_->Create({}, kRootIno, "f" + std::to_string(t), S_IFREG | 0644).ino;
      while (!stop && written[t].size() < 2000) {
        volume_->Write({.uid = static_cast<uint32_t>(t)}, own, 0, "x", false);
        written[t].push_back(volume_->last_instant());
      }
    });
  }
  EventQuery query;
  size_t writes = 0;
  Instant last;
  const auto look = [&] {
    const EventsRead read = store_->ReadEvents("v", query, [&](const Event& event) {
      EXPECT_LT(last, event.at);
      last = event.at;
      writes += event.type == RecordType::kWrite;
      return true;
    });
    query.from = Instant{read.until.ns + 1};
  };
  for (int i = 0; i < 50; ++i) look();
  stop = true;
  for (std::thread& writer : writers) writer.join();
  look();
  size_t expected = 0;
  for (const auto& each : written) expected += each.size();
  EXPECT_EQ(writes, expected);
}

TEST_F(EventsByHandTest, SnapshotVolumesAreRefusedAndRemovedOnesAreNot) {
  Write();
  CreateRequest request;
  request.name = "snap";
  request.source_kind = SourceKind::kSnapshotOf;
  request.source = "v";
  store_->Create(request);
  const auto nothing = [](const Event&) { return true; };
  try {
    store_->ReadEvents("snap", {}, nothing);
    ADD_FAILURE() << "not refused";
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), EROFS);
  }
  EXPECT_THROW(store_->ReadEvents("absent", {}, nothing), Refused);
  const auto before = Read(*store_, "v");
  volume_.reset();
  store_->Remove("v");
  EXPECT_EQ(Read(*store_, "v"), before);
}

}  // namespace
}  // namespace rw::testing
