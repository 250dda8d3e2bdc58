// Collection, step by step: what happens between two of its steps, or instead of one.
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <future>
#include <map>
#include <set>
#include <thread>

#include "fs/segment.h"
#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "tests/support/inode_numbers.h"
#include "tests/support/manual_clock.h"
#include "tests/support/random.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"
#include "tests/support/watched_files.h"

namespace rw {
namespace {

constexpr uint64_t kMinute = 60 * testing::ManualClock::kSecond;
constexpr size_t kPiece = 4096;

class CollectTest : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    volumes_.clear();
    store_.reset();
    StoreOptions options(temp_.path() / "root", clock_.AsFunction(), &files_);
    options.max_segment_bytes = kMinSegmentBytes;
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    options.defaults = {{"retention", "10m"}, {"keep", "none"}};
    store_ = Store::Open(std::move(options));
  }
  void StartAnew() {
    volumes_.clear();
    store_.reset();
    files_.before_write = {};
    std::filesystem::remove_all(temp_.path() / "root");
    contents_.clear();
    Open();
  }
  Volume& Create(const std::string& name, const std::string& clone_of = "") {
    CreateRequest request;
    request.name = name;
    if (!clone_of.empty()) {
      request.source_kind = SourceKind::kCloneOf;
      request.source = clone_of;
      request.options["clone-of"] = clone_of;
      contents_[name] = contents_[clone_of];
    }
    store_->Create(request);
    return OpenVolume(name);
  }
  Volume& OpenVolume(const std::string& name) {
    volumes_[name] = store_->OpenVolume(name);
    return *volumes_[name];
  }
  Ino MakeFile(const std::string& volume, const std::string& name) {
    return volumes_.at(volume)->Create({}, kRootIno, name, S_IFREG | 0644).ino;
  }
  void Write(const std::string& volume, Ino ino, size_t piece) {
    const std::string data = random_.Bytes(kPiece);
    volumes_.at(volume)->Write({}, ino, piece * kPiece, data, false);
    std::string& all = contents_[volume][ino];
    if (all.size() < (piece + 1) * kPiece) all.resize((piece + 1) * kPiece);
    all.replace(piece * kPiece, kPiece, data);
  }
  void Copy(const std::string& volume, Ino from, Ino to) {
    volumes_.at(volume)->CopyRange({}, from, 0, to, 0, contents_[volume][from].size());
    contents_[volume][to] = contents_[volume][from];
  }
  // So that there are dead bytes beside the live ones, and the journal goes on in other segments.
  void WriteMuch(const std::string& volume, Ino ino, size_t writes) {
    for (size_t i = 0; i < writes; ++i) Write(volume, ino, i % 8);
  }
  void ExpectContents(const std::string& when) {
    for (const auto& [name, files] : contents_) {
      Volume& volume = *volumes_.at(name);
      for (const auto& [ino, expected] : files) {
        std::string found(expected.size(), '\0');
        try {
          ASSERT_EQ(volume.Read(ino, 0, found), expected.size()) << name << " " << when;
        } catch (const Refused& refused) {
          FAIL() << name << ", inode " << ino << ", " << when << ": " << refused.what();
        }
        EXPECT_TRUE(found == expected) << name << ", inode " << ino << ", " << when;
      }
    }
  }
  struct Files {
    Ino source = 0, other = 0, copy = 0, noise = 0;
  };
  // In a new store: two files with old data in different segments, one without any, and one whose
  // data fill the segments.
  Files BeginWithThreeFiles() {
    StartAnew();
    Create("v");
    const Files made{MakeFile("v", "source"), MakeFile("v", "other"), MakeFile("v", "copy"),
                     MakeFile("v", "noise")};
    for (size_t piece = 0; piece < 3; ++piece) Write("v", made.source, piece);
    WriteMuch("v", made.noise, 30);
    for (size_t piece = 0; piece < 3; ++piece) Write("v", made.other, piece);
    WriteMuch("v", made.noise, 30);
    clock_.Forward(20 * kMinute);
    return made;
  }
  // Fails one write to the first volume's journal; true if that ended the run.
  bool CollectWhileAWriteFails(int failing) {
    int writes = 0;
    files_.before_write = [&](const std::string& path) {
      if (path.find("/journal/1/") != path.npos && ++writes == failing)
        throw Refused(EIO, "the disk fails this write");
    };
    bool interrupted = false;
    try {
      store_->Collect();
    } catch (const Refused&) {
      interrupted = true;
      files_.before_write = {};
      Open();  // the journal may ask for it
      OpenVolume("v");
    }
    files_.before_write = {};
    return interrupted;
  }
  std::set<ino_t> FilesIn(const std::string& directory) {
    return testing::InodeNumbersIn(temp_.path() / "root" / directory);
  }

  testing::TempDir temp_;
  testing::WatchedFiles files_;
  testing::ManualClock clock_;
  testing::Random random_{1};
  std::unique_ptr<Store> store_;
  std::map<std::string, std::shared_ptr<Volume>> volumes_;
  std::map<std::string, std::map<Ino, std::string>> contents_;
};

// Goal: a run that ends while it moves data leaves nothing that a later run takes for free.
// Method: a file's old data are also a younger copy's, within the range; between the two, in the
// order of the walk, lies a third, in another segment, whose moving fails, at each write in turn.
// Then the copy alone refers to the source's segment, which no look at what lies before the range
// can tell.
TEST_F(CollectTest, ASegmentThatWasHalfEmptiedIsEmptiedAndNotFreed) {
  int interrupted = 0;
  for (int failing = 1; failing <= 12; ++failing) {
    const auto [source, other, copy, noise] = BeginWithThreeFiles();
    Copy("v", source, copy);
    Write("v", source, 0);  // the source shows other data, the copy the old ones
    Write("v", source, 1);
    Write("v", source, 2);
    WriteMuch("v", noise, 60);
    clock_.Forward(5 * kMinute);
    interrupted += CollectWhileAWriteFails(failing);
    ExpectContents("after a run that was interrupted at write " + std::to_string(failing));
    clock_.Forward(kMinute);
    store_->Collect();
    ExpectContents("after the next run, write " + std::to_string(failing));
    store_->Collect();
    ExpectContents("and one more, write " + std::to_string(failing));
    Open();
    OpenVolume("v");
    ExpectContents("and opened again, write " + std::to_string(failing));
    if (HasFailure()) return;
  }
  EXPECT_GE(interrupted, 2);
}

// Goal: damage to the beginning of a segment with moved data costs what lay there, and not the
// segment, which the next start would take for one that was never begun.
TEST_F(CollectTest, ASegmentThatLostItsHeaderIsNotRemoved) {
  const auto [source, other, copy, noise] = BeginWithThreeFiles();
  store_->Collect();
  const auto path = temp_.path() / "root/journal/1" / SegmentFileName(kFirstMovedSegment);
  ASSERT_TRUE(std::filesystem::exists(path));
  Open();
  OpenVolume("v");
  ExpectContents("before");
  volumes_.clear();
  store_.reset();
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  std::string block(512, '\0');
  file.read(block.data(), 512);
  file.seekp(0).write(std::string(512, '\0').data(), 512).flush();
  Open();
  Open();
  ASSERT_TRUE(std::filesystem::exists(path));
  CheckOptions repair;
  repair.repair = true;
  EXPECT_FALSE(store_->Check(repair).sound());
  // The rest of it can be read again.
  OpenVolume("v");
  std::string found(2 * kPiece, '\0');
  EXPECT_EQ(volumes_["v"]->Read(other, kPiece, found), found.size());
  EXPECT_TRUE(found == contents_["v"][other].substr(kPiece, 2 * kPiece));
  volumes_.clear();
  store_.reset();
  file.seekp(0).write(block.data(), 512).flush();
  Open();
  OpenVolume("v");
  ExpectContents("once it is back");
  EXPECT_TRUE(store_->Check({}).sound());
}

// Goal: a segment is not free while something within the range refers to it alone. Method: as
// above, until the copy's data lie at a place of their own, as the run that moved the source's came
// to no end; what else lies there leaves the range before the copy does.
TEST_F(CollectTest, WhatOnlyTheRangeRefersToIsHeld) {
  int interrupted = 0;
  for (int failing = 1; failing <= 12; ++failing) {
    const auto [source, other, copy, noise] = BeginWithThreeFiles();
    for (size_t piece = 0; piece < 3; ++piece) Write("v", other, piece);
    WriteMuch("v", noise, 8);
    clock_.Forward(4 * kMinute);
    Copy("v", source, copy);
    for (size_t piece = 0; piece < 3; ++piece) Write("v", source, piece);
    WriteMuch("v", noise, 60);
    clock_.Forward(5 * kMinute);
    interrupted += CollectWhileAWriteFails(failing);
    store_->Collect();
    ExpectContents("after the next run, write " + std::to_string(failing));
    clock_.Forward(2 * kMinute);  // the others' old data are nobody's now
    WriteMuch("v", noise, 1);
    store_->Collect();
    ExpectContents("when they are alone, write " + std::to_string(failing));
    clock_.Forward(20 * kMinute);
    WriteMuch("v", noise, 60);
    clock_.Forward(20 * kMinute);
    store_->Collect();
    ExpectContents("when the copy is what the range begins with, write " + std::to_string(failing));
    if (HasFailure()) return;
  }
  EXPECT_GE(interrupted, 2);
}

// Goal: the same of what was moved before the run failed. Method: the copy shares all but one piece
// of the source's old data and comes first in the order of the walk; then the moving of that piece
// fails, at each write in turn. What the copy alone was moved to is nothing that the range's first
// instant sees.
TEST_F(CollectTest, WhatWasMovedForTheRangeAloneIsHeld) {
  int interrupted = 0;
  for (int failing = 1; failing <= 12; ++failing) {
    StartAnew();
    Create("v");
    const Ino copy = MakeFile("v", "copy"), source = MakeFile("v", "source"),
              noise = MakeFile("v", "noise");
    for (size_t piece = 0; piece < 4; ++piece) Write("v", source, piece);
    WriteMuch("v", noise, 30);
    clock_.Forward(20 * kMinute);
    volumes_.at("v")->CopyRange({}, source, 0, copy, 0, 3 * kPiece);
    contents_["v"][copy] = contents_["v"][source].substr(0, 3 * kPiece);
    for (size_t piece = 0; piece < 4; ++piece) Write("v", source, piece);
    WriteMuch("v", noise, 60);
    clock_.Forward(5 * kMinute);
    interrupted += CollectWhileAWriteFails(failing);
    ExpectContents("after a run that was interrupted at write " + std::to_string(failing));
    for (int run = 0; run < 3; ++run) {
      store_->Collect();
      ExpectContents("after a later run, write " + std::to_string(failing));
      clock_.Forward(2 * kMinute);
      WriteMuch("v", noise, 8);
    }
    Open();
    OpenVolume("v");
    ExpectContents("and opened again, write " + std::to_string(failing));
    if (HasFailure()) return;
  }
  EXPECT_GE(interrupted, 2);
}

// Goal: what is written while data are moved, from what was known before, is moved too. Method: a
// clone shares its source's data; just when the first of them are moved, the clone is written to,
// whose first version of a chunk says where all of it lies.
TEST_F(CollectTest, WhatAWriterKnewBeforeIsMovedToo) {
  Create("v");
  const Ino file = MakeFile("v", "file"), noise = MakeFile("v", "noise");
  for (size_t piece = 0; piece < 6; ++piece) Write("v", file, piece);
  WriteMuch("v", noise, 60);
  Create("clone", "v");
  ExpectContents("before");  // whoever reads, knows where the data lie
  clock_.Forward(20 * kMinute);
  WriteMuch("v", noise, 60);
  clock_.Forward(20 * kMinute);
  bool written = false;
  files_.before_write = [&](const std::string& path) {
    if (path.find("/journal/1/") == path.npos || written) return;
    written = true;
    Write("clone", file, 2);
  };
  const CollectReport report = store_->Collect();
  files_.before_write = {};
  EXPECT_TRUE(written);
  EXPECT_GT(report.moved_bytes, 0u);
  EXPECT_GT(report.journal_bytes, 0u);
  ExpectContents("after data were moved");
  Open();
  OpenVolume("v");
  OpenVolume("clone");
  ExpectContents("opened again");
}

// Goal: space comes back when its time has come, also if nobody writes any more. Method: the
// collector runs by itself, and all that is waited for is that it does: without the rule, the next
// run would be ten minutes later.
TEST(CollectInBackgroundTest, SpaceComesBackThoughNothingIsWritten) {
  testing::TempDir temp;
  StoreOptions options(temp.path() / "root");
  options.wall_clock = testing::SystemNanoseconds;
  options.collector.reserve_bytes = 0;
  options.collector.grace_ns = 0;
  options.defaults = {{"retention", "3s"}, {"keep", "none"}};
  const auto store = Store::Open(std::move(options));
  CreateRequest request;
  request.name = "v";
  store->Create(request);
  const auto volume = store->OpenVolume("v");
  const Ino file = volume->Create({}, kRootIno, "file", S_IFREG | 0644).ino;
  const std::string data(1 << 20, 'x');
  for (int i = 0; i < 300; ++i) volume->Write({}, file, 0, data, false);
  const auto history = [&] { return store->Status("v").history_bytes; };
  for (int i = 0; i < 1200 && history() > (160 << 20); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LE(history(), uint64_t{160} << 20);
}

TEST_F(CollectTest, FreedSegmentsAreUsedAgain) {
  Create("v");
  const Ino file = MakeFile("v", "file"), kept = MakeFile("v", "kept");
  for (size_t piece = 0; piece < 200; ++piece) Write("v", kept, piece);
  WriteMuch("v", file, 200);
  clock_.Forward(20 * kMinute);
  WriteMuch("v", file, 40);
  store_->Collect();
  const std::set<ino_t> freed = FilesIn("free");
  ASSERT_FALSE(freed.empty());
  WriteMuch("v", file, 100);
  const std::set<ino_t> used = FilesIn("journal/1");
  for (const ino_t ino : freed) EXPECT_TRUE(used.contains(ino));
  ExpectContents("in segments that were used again");
  Open();
  OpenVolume("v");
  ExpectContents("opened again");
  // An unclean start.
  WriteMuch("v", file, 10);
  volumes_.at("v")->Sync();
  clock_.Forward(20 * kMinute);
  store_->Collect();
  std::filesystem::copy(temp_.path() / "root", temp_.path() / "copy",
                        std::filesystem::copy_options::recursive);
  volumes_.clear();
  store_.reset();
  std::filesystem::remove_all(temp_.path() / "root");
  std::filesystem::rename(temp_.path() / "copy", temp_.path() / "root");
  Open();
  OpenVolume("v");
  ExpectContents("after the machine died");
  WriteMuch("v", file, 100);
  ExpectContents("and went on");
}

TEST_F(CollectTest, AnEndIsNotKeptWaiting) {
  const Files made = BeginWithThreeFiles();
  WriteMuch("v", made.noise, 30);
  std::thread end;
  files_.before_write = [&](const std::string& path) {
    if (end.joinable() || path.find("/journal/1/") == path.npos) return;
    std::promise<void> begun;
    end = std::thread([&] {
      begun.set_value();
      store_->StopCollecting();
    });
    begun.get_future().wait();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  };
  int error = 0;
  try {
    store_->Collect();
  } catch (const Refused& refused) {
    error = refused.error();
  }
  ASSERT_TRUE(end.joinable());
  end.join();
  EXPECT_EQ(error, ECANCELED);
  files_.before_write = {};
  EXPECT_THROW(store_->Collect(), Refused);
  ExpectContents("after a run that was ended");
  Open();
  OpenVolume("v");
  EXPECT_GT(store_->Collect().journal_bytes, 0U);
  ExpectContents("after the next run");
}

}  // namespace
}  // namespace rw
