// Goal: what was forgotten is nowhere: no file under the data root has a byte of it, no view shows
// it, and nothing else is hurt. What cannot be forgotten is refused, and then nothing has changed.
//
// Method: the secret bytes are made of a token that is looked for in every file under the root,
// after all that spreads data: overwriting, moving by the collector, segments that are used again,
// clones, rollbacks, kills. The other files of each remembered instant are compared.
#include <errno.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <map>

#include "fs/segment.h"
#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "tests/support/manual_clock.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"
#include "tests/support/watched_files.h"

namespace rw {
namespace {

namespace stdfs = std::filesystem;

constexpr uint64_t kMinute = 60 * testing::ManualClock::kSecond;
constexpr size_t kPiece = 4096;
constexpr char kToken[] = "the secret that is to be forgotten";

class StoreForgetTest : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }
  void Open() {
    volumes_.clear();
    store_.reset();
    StoreOptions options(temp_.path() / "root", clock_.AsFunction(), &files_);
    options.max_segment_bytes = kMinSegmentBytes;
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    options.defaults = {{"retention", retention_}, {"keep", "none"}, {"trash", "0"}};
    store_ = Store::Open(std::move(options));
  }
  Volume& At(const std::string& name) {
    auto& volume = volumes_[name];
    if (volume == nullptr) volume = store_->OpenVolume(name);
    return *volume;
  }
  void Create(const std::string& name, SourceKind kind = SourceKind::kNone,
              const std::string& source = "", std::optional<Instant> at = {}) {
    CreateRequest request;
    request.name = name;
    request.source_kind = kind;
    request.source = source;
    request.at = at;
    if (kind == SourceKind::kRollback) volumes_.clear();
    store_->Create(request);
  }
  Ino MakeFile(const std::string& volume, const std::string& name) {
    return At(volume).Create({}, kRootIno, name, S_IFREG | 0644).ino;
  }
  Ino Find(Volume& volume, const std::string& name) {
    const auto found = volume.Lookup(kRootIno, name);
    return found ? found->ino : 0;
  }

  // So many bytes of the secret, beginning anywhere in the token.
  std::string Secret(size_t bytes) {
    std::string text;
    const size_t from = random_.Below(sizeof(kToken));
    while (text.size() < from + bytes) text += kToken;
    return text.substr(from, bytes);
  }
  void WriteSecret(const std::string& volume, const std::string& name) {
    Ino ino = Find(At(volume), name);
    if (ino == 0) ino = MakeFile(volume, name);
    At(volume).Write({}, ino, random_.Below(20 * kPiece), Secret(1 + random_.Below(3 * kPiece)),
                     false);
  }
  void WriteOther(const std::string& volume) {
    const std::string name = "other" + std::to_string(random_.Below(6));
    Ino ino = Find(At(volume), name);
    if (ino == 0) ino = MakeFile(volume, name);
    At(volume).Write({}, ino, random_.Below(16) * kPiece / 2,
                     random_.Bytes(1 + random_.Below(2 * kPiece)), false);
  }

  // Files under the root that have a byte of it that another one has not by accident.
  std::vector<std::string> Traces() {
    std::vector<std::string> traces;
    for (const auto& entry : stdfs::recursive_directory_iterator(temp_.path() / "root")) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string bytes((std::istreambuf_iterator<char>(in)), {});
      for (const char* part : {"the secret", "secret that", "be forgotten"}) {
        if (bytes.find(part) == bytes.npos) continue;
        traces.push_back(entry.path().string());
        break;
      }
    }
    return traces;
  }

  static std::string ReadAll(Volume& volume, const InodeAttr& file) {
    std::string bytes(file.inode.size, '\0');
    bytes.resize(volume.Read(file.ino, 0, bytes));
    return bytes;
  }
  using Contents = std::map<std::string, std::string>;
  static Contents OthersOf(Volume& volume) {
    Contents contents;
    for (const DirEntry& entry : volume.ReadDir(kRootIno, 0, 1000)) {
      if (!entry.name.starts_with("other")) continue;
      contents[entry.name] = ReadAll(volume, *volume.Lookup(kRootIno, entry.name));
    }
    return contents;
  }
  void Remember(const std::string& volume) {
    const Instant now = store_->Now();
    remembered_[{volume, now}] = OthersOf(At(volume));
  }
  void ExpectOthersAreAsTheyWere() {
    for (const auto& [when, contents] : remembered_) {
      try {
        EXPECT_TRUE(OthersOf(*store_->OpenAt(when.first, when.second)) == contents)
            << when.first << " at " << when.second.ns;
      } catch (const Refused& refused) {
        EXPECT_EQ(refused.error(), ERANGE) << refused.what();  // not kept any more
      }
    }
  }
  static int ErrorOfReading(Volume& volume, const std::string& name) {
    try {
      ReadAll(volume, *volume.Lookup(kRootIno, name));
    } catch (const Refused& refused) {
      return refused.error();
    }
    return 0;
  }
  int ErrorOfReadingAt(const std::string& volume, Instant at, const std::string& name) {
    const auto view = store_->OpenAt(volume, at);
    return Find(*view, name) != 0 ? ErrorOfReading(*view, name) : ENOENT;
  }
  int ErrorOfForgetting(const std::string& volume, const std::string& path, bool copies = false) {
    try {
      store_->ForgetPath(volume, path, copies);
    } catch (const Refused& refused) {
      why_ = refused.what();
      return refused.error();
    }
    return 0;
  }
  void ExpectSound() {
    const CheckReport report = store_->Check({});
    EXPECT_TRUE(report.sound());
    for (const Hurt& hurt : report.hurts) ADD_FAILURE() << hurt.what << " " << hurt.path;
  }

  testing::TempDir temp_;
  testing::WatchedFiles files_;
  testing::ManualClock clock_;
  testing::Random random_{1};
  std::string retention_ = "10m";
  std::string why_;
  std::unique_ptr<Store> store_;
  std::map<std::string, std::shared_ptr<Volume>> volumes_;
  std::map<std::pair<std::string, Instant>, Contents> remembered_;
};

class RandomForgetTest : public StoreForgetTest, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(RandomForgetTest, LeavesNoTraceAndNothingElseHurt) {
  const uint64_t seed = testing::NumberFromEnvironment("REWIND_SEED", GetParam());
  SCOPED_TRACE("REWIND_SEED=" + std::to_string(seed));
  random_ = testing::Random(seed);
  Create("v");
  std::vector<std::string> clones;
  Instant middle;
  for (int i = 0; i < 400; ++i) {
    const std::string volume =
        clones.empty() || random_.Percent(70) ? "v" : random_.PickFrom(clones);
    clock_.Forward(random_.Below(6 * testing::ManualClock::kSecond));
    const uint64_t choice = random_.Below(100);
    if (choice < 40) {
      WriteOther(volume);
    } else if (choice < 70) {
      WriteSecret(volume, "secret");
    } else if (choice < 74) {
      if (const Ino ino = Find(At(volume), "secret"); ino != 0 && random_.OneIn(2)) {
        AttrChange change;
        change.size = random_.Below(10 * kPiece);
        At(volume).SetAttr({}, ino, change);
      } else if (ino != 0) {
        At(volume).Unlink({}, kRootIno, "secret");
        At(volume).Forget(ino);
      }
    } else if (choice < 78) {
      store_->Collect();
    } else if (choice < 88) {
      Remember(volume);
      if (volume == "v") middle = store_->Now();
    } else if (choice < 90 && clones.size() < 3) {
      clones.push_back("clone" + std::to_string(clones.size()));
      Create(clones.back(), SourceKind::kCloneOf, "v");
    } else if (choice < 91 && middle != Instant{}) {
      try {
        Create("old" + std::to_string(i), SourceKind::kRollback, "v", middle);
      } catch (const Refused& refused) {
        EXPECT_EQ(refused.error(), ERANGE) << refused.what();
      }
    } else if (choice < 92) {
      Open();
    }
  }
  ASSERT_FALSE(Traces().empty());
  Remember("v");
  const Instant with_secret = store_->Now();
  WriteSecret("v", "secret");
  clones.emplace_back("v");
  for (const std::string& volume : clones) {
    const Ino ino = Find(At(volume), "secret");
    if (ino == 0) continue;
    EXPECT_EQ(ErrorOfForgetting("v", "/secret"), EBUSY);
    At(volume).Unlink({}, kRootIno, "secret");
    At(volume).Forget(ino);
  }
  for (const std::string& volume : clones) {
    const int error = ErrorOfForgetting(volume, "secret");
    EXPECT_TRUE(error == 0 || error == ENOENT) << why_;
  }
  EXPECT_EQ(Traces(), std::vector<std::string>{});
  ExpectOthersAreAsTheyWere();
  ExpectSound();
  EXPECT_NE(ErrorOfReadingAt("v", with_secret, "secret"), EIO);
  Open();
  ExpectOthersAreAsTheyWere();
  WriteOther("v");
  store_->Collect();
  ExpectSound();
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomForgetTest, ::testing::Range<uint64_t>(1, 6));

// With an index that is made again from the journals, too.
TEST_F(StoreForgetTest, WhatWasForgottenIsSaidToBeGoneAtEveryInstant) {
  retention_ = "1000d";
  Open();
  Create("v");
  WriteOther("v");
  WriteSecret("v", "secret");
  const Instant then = store_->Now();
  Create("snapshot", SourceKind::kSnapshotOf, "v");
  Create("clone", SourceKind::kCloneOf, "v");
  for (int i = 0; i < 100; ++i) WriteOther("v");
  for (const char* volume : {"v", "clone"}) {
    const Ino ino = Find(At(volume), "secret");
    At(volume).Unlink({}, kRootIno, "secret");
    At(volume).Forget(ino);
  }
  Remember("v");
  EXPECT_EQ(ErrorOfReadingAt("v", then, "secret"), 0);
  const ForgetReport report = store_->ForgetPath("v", "/secret", false);
  EXPECT_EQ(report.inodes.size(), 1u);
  EXPECT_GT(report.bytes, 0u);
  EXPECT_EQ(report.damaged_places, 0u);
  for (const bool index_is_new : {false, true}) {
    EXPECT_EQ(ErrorOfReadingAt("v", then, "secret"), ENODATA) << index_is_new;
    EXPECT_EQ(ErrorOfReading(At("snapshot"), "secret"), ENODATA) << index_is_new;
    ExpectOthersAreAsTheyWere();
    ExpectSound();
    volumes_.clear();
    store_.reset();
    if (!index_is_new) stdfs::remove_all(temp_.path() / "root/index");
    Open();
  }
}

TEST_F(StoreForgetTest, AFileThatIsStillThereIsNotForgotten) {
  Create("v");
  WriteSecret("v", "secret");
  const Instant then = store_->Now();
  EXPECT_EQ(ErrorOfForgetting("v", "/secret"), EBUSY);
  const Ino ino = Find(At("v"), "secret");
  At("v").Unlink({}, kRootIno, "secret");
  EXPECT_EQ(ErrorOfForgetting("v", "/secret"), EBUSY) << "a program has it open";
  EXPECT_NE(why_.find("open in a program"), why_.npos) << why_;
  At("v").Forget(ino);
  Create("clone", SourceKind::kCloneOf, "v", then);
  EXPECT_EQ(ErrorOfForgetting("v", "/secret"), EBUSY);
  EXPECT_NE(why_.find("volume clone still has the file"), why_.npos) << why_;
  EXPECT_EQ(ErrorOfReadingAt("v", then, "secret"), 0);
  EXPECT_EQ(ErrorOfReading(At("clone"), "secret"), 0);
  volumes_.clear();
  store_->Remove("clone");
  EXPECT_EQ(ErrorOfForgetting("v", "/secret"), 0) << why_;
  EXPECT_EQ(ErrorOfForgetting("v", "/never"), ENOENT);
  EXPECT_EQ(ErrorOfForgetting("v", "/a/../b"), EINVAL);
  At("v").Create({}, kRootIno, "directory", S_IFDIR | 0755);
  EXPECT_EQ(ErrorOfForgetting("v", "/directory"), EISDIR);
}

TEST_F(StoreForgetTest, OfBytesThatOtherFilesShareNothingIsErasedUnawares) {
  Create("v");
  WriteSecret("v", "secret");
  const Ino secret = Find(At("v"), "secret"), copy = MakeFile("v", "other copy");
  At("v").CopyRange({}, secret, 0, copy, 0, 30 * kPiece);
  Remember("v");
  At("v").Unlink({}, kRootIno, "secret");
  At("v").Forget(secret);
  EXPECT_EQ(ErrorOfForgetting("v", "/secret"), EBUSY);
  EXPECT_NE(why_.find("--copies"), why_.npos) << why_;
  EXPECT_EQ(ErrorOfForgetting("v", "/secret", true), EBUSY) << "the copy is still there";
  ExpectOthersAreAsTheyWere();
  At("v").Unlink({}, kRootIno, "other copy");
  At("v").Forget(copy);
  EXPECT_EQ(ErrorOfForgetting("v", "/secret"), EBUSY);
  EXPECT_EQ(ErrorOfForgetting("v", "/secret", true), 0) << why_;
  EXPECT_EQ(Traces(), std::vector<std::string>{});
}

// What a rollback took away cannot be shared, so a restore copies it; here, and is given up then:
// no path ever leads to the copy.
TEST_F(StoreForgetTest, WhatARestoreHasCopiedIsFound) {
  Create("v");
  const Instant empty = store_->Now();
  Create("before1", SourceKind::kRollback, "v", empty);
  WriteSecret("v", "secret");
  MakeFile("v", "tail");
  RestoreRequest request;
  request.volume = "v";
  request.paths = {"/secret", "/tail"};
  request.at = store_->Now();
  Create("before2", SourceKind::kRollback, "v", empty);
  const size_t traces = Traces().size();
  RestoreHooks hooks;
  hooks.go_on = [&] { return Traces().size() == traces; };
  EXPECT_THROW(store_->Restore(request, hooks), Refused);
  ASSERT_GT(Traces().size(), traces) << "nothing was copied";
  ASSERT_EQ(Find(At("v"), "secret"), 0u);
  EXPECT_EQ(ErrorOfForgetting("v", "/secret"), EBUSY);
  EXPECT_NE(why_.find("--copies"), why_.npos) << why_;
  EXPECT_EQ(ErrorOfForgetting("v", "/secret", true), 0) << why_;
  EXPECT_EQ(Traces(), std::vector<std::string>{});
  ExpectSound();
}

TEST_F(StoreForgetTest, FilesOfThePastThatWereForgottenCanBeWrittenAgainInAClone) {
  Create("v");
  const Ino ino = MakeFile("v", "secret");
  At("v").Write({}, ino, 0, Secret(4 * kPiece), false);
  const Instant then = store_->Now();
  At("v").Unlink({}, kRootIno, "secret");
  At("v").Forget(ino);
  store_->ForgetPath("v", "secret", false);
  Create("clone", SourceKind::kCloneOf, "v", then);
  EXPECT_EQ(ErrorOfReading(At("clone"), "secret"), ENODATA);
  const std::string text(kPiece, 'x');
  At("clone").Write({}, ino, kPiece, text, false);
  std::string read(kPiece, '\0');
  EXPECT_EQ(At("clone").Read(ino, kPiece, read), kPiece);
  EXPECT_EQ(read, text);
  EXPECT_THROW(At("clone").Read(ino, 0, read), Refused);
  // Moving what lives does not stumble over it, nor does what is gone become zeros.
  clock_.Forward(30 * kMinute);
  for (int i = 0; i < 200; ++i) WriteOther("clone");
  clock_.Forward(30 * kMinute);
  for (int i = 0; i < 200; ++i) WriteOther("clone");
  store_->Collect();
  store_->Collect();
  EXPECT_EQ(At("clone").Read(ino, kPiece, read), kPiece);
  EXPECT_EQ(read, text);
  EXPECT_THROW(At("clone").Read(ino, 0, read), Refused);
  ExpectSound();
}

// A disk that fails at each write in turn, then another try.
TEST_F(StoreForgetTest, WhatWasInterruptedCanBeRepeated) {
  int interrupted = 0;
  for (int failing = 1; failing < 40; failing += 4) {
    volumes_.clear();
    store_.reset();
    stdfs::remove_all(temp_.path() / "root");
    remembered_.clear();
    Open();
    Create("v");
    for (int i = 0; i < 40; ++i) {
      WriteSecret("v", "secret");
      WriteOther("v");
    }
    Remember("v");
    const Ino ino = Find(At("v"), "secret");
    At("v").Unlink({}, kRootIno, "secret");
    At("v").Forget(ino);
    int writes = 0;
    files_.before_write = [&](const std::string& path) {
      if (path.find("/journal/1/") != path.npos && ++writes == failing)
        throw Refused(EIO, "the disk fails this write");
    };
    const int error = ErrorOfForgetting("v", "/secret");
    files_.before_write = {};
    interrupted += error != 0;
    if (random_.OneIn(2)) Open();
    ExpectOthersAreAsTheyWere();
    EXPECT_EQ(ErrorOfForgetting("v", "/secret"), 0) << why_ << ", write " << failing;
    EXPECT_EQ(Traces(), std::vector<std::string>{}) << "write " << failing;
    ExpectOthersAreAsTheyWere();
    if (error == 0 || HasFailure()) break;
  }
  EXPECT_GE(interrupted, 5);
}

}  // namespace
}  // namespace rw
