// Goal: what is restored is as it was then, in every respect but its ctime, shares its data, stays
// whatever becomes of the history that it came from, and is one operation: before it everything is
// as it was, after it everything is new. What is refused changes nothing.
//
// Method: a store with a clock of the test's and small segments, so that whole ranges of history
// pass and segments are freed and used again within a test; trees are read with all checks.
#include "fs/store.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include "fs/deleted.h"
#include "fs/event_log.h"
#include "fs/path_history.h"
#include "fs/segment.h"
#include "fs/tree_diff.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "tests/support/manual_clock.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree.h"
#include "tests/support/watched_files.h"

namespace rw {
namespace {

using testing::CollectedTree;
using testing::CollectTree;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Tree;

constexpr uint64_t kMinute = 60 * testing::ManualClock::kSecond;
constexpr size_t kMiB = 1 << 20;

class StoreRestoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Open();
    CreateRequest request;
    request.name = "v";
    store_->Create(request);
    Use();
  }
  void Open() {
    volume_.reset();
    store_.reset();
    StoreOptions options(temp_.path() / "root", clock_.AsFunction(), &files_);
    options.max_segment_bytes = kMinSegmentBytes;
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    options.defaults = {{"retention", "10m"}, {"keep", "none"}, {"trash", "0"}};
    store_ = Store::Open(std::move(options));
  }
  void Use() { volume_ = store_->OpenVolume("v"); }

  Ino Make(Ino parent, const std::string& name, uint32_t mode = S_IFREG | 0644) {
    return volume_->Create({}, parent, name, mode, 0, S_ISLNK(mode) ? "to/somewhere" : "").ino;
  }
  void Write(Ino ino, uint64_t offset, const std::string& text) {
    volume_->Write({}, ino, offset, text, false);
  }
  Ino Find(const std::string& path) {
    Ino at = kRootIno;
    for (size_t from = 1; from < path.size();) {
      const size_t to = std::min(path.find('/', from), path.size());
      const auto found = volume_->Lookup(at, path.substr(from, to - from));
      if (!found) return 0;
      at = found->ino;
      from = to + 1;
    }
    return at;
  }
  std::string Read(const std::string& path) {
    const Ino ino = Find(path);
    if (ino == 0) return "(absent)";
    std::string text(volume_->FindInode(ino)->size, '\0');
    text.resize(volume_->Read(ino, 0, text));
    return text;
  }
  // /d: files with all that a file can have, a directory, links to and from without.
  void MakeTree() {
    const Ino d = Make(kRootIno, "d", S_IFDIR | 0750);
    const Ino plain = Make(d, "plain");
    Write(plain, 0, random_.Bytes(300'000));
    const Ino sparse = Make(d, "sparse", S_IFREG | 0604);
    Write(sparse, 50 * kMiB + 17, "in the middle of nowhere");
    AttrChange longer;
    longer.size = 90 * kMiB;
    volume_->SetAttr({}, sparse, longer);
    volume_->Fallocate({}, plain, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 140'000);
    volume_->Link({}, plain, d, "second name");
    volume_->Link({}, plain, kRootIno, "third name");
    Make(d, "link", S_IFLNK | 0777);
    Make(d, "fifo", S_IFIFO | 0600);
    volume_->Create({}, d, "device", S_IFCHR | 0640, 0x0103, {});
    const Ino sub = Make(d, "sub", S_IFDIR | 0755);
    const Ino deep = Make(Make(sub, "deeper", S_IFDIR | 01777), "file");
    Write(deep, 5, "text");
    volume_->SetXattr({}, deep, "user.note", "kept", 0);
    volume_->SetXattr({}, sub, "user.note", std::string(5000, 'x'), 0);
    const std::string acl(
        "\2\0\0\0\1\0\6\0\377\377\377\377\2\0\4\0\5\0\0\0\4\0\4\0\377\377\377\377"
        "\20\0\6\0\377\377\377\377\40\0\0\0\377\377\377\377",
        44);
    volume_->SetXattr({}, deep, "system.posix_acl_access", acl, 0);
    volume_->SetXattr({}, sub, "system.posix_acl_default", acl, 0);
    AttrChange owner;
    owner.uid = 1001;
    owner.gid = 7;
    owner.mode = 06711;
    owner.mtime = FileTime{12345, 678};
    owner.atime = FileTime{-5, 1};
    volume_->SetAttr({}, deep, owner);
    for (int i = 0; i < 200; ++i) Write(Make(sub, "n" + std::to_string(i)), 0, std::to_string(i));
  }
  // What a restore keeps of what is at and below a path, as if it were the root.
  static Tree Below(const Tree& tree, const std::string& path) {
    Tree below;
    std::map<std::string, std::string> first;  // name of each group of links
    for (const auto& [at, node] : tree) {
      if (at != path && !at.starts_with(path + "/")) continue;
      testing::TreeNode copy = node;
      copy.ctime = {};
      const std::string group = node.same_as.empty() ? at : node.same_as;
      const std::string name = at.substr(path.size());
      copy.same_as = first.try_emplace(group, name).first->second;
      if (!S_ISDIR(copy.mode)) copy.nlink = 0;
      below[name] = copy;
    }
    return below;
  }
  Tree Now() {
    const CollectedTree collected = CollectTree(*volume_);
    EXPECT_EQ(collected.ProblemText(), "");
    return collected.tree;
  }
  static std::string Compare(const Tree& expected, const Tree& actual) {
    return testing::Difference(expected, actual);
  }

  static RestoreRequest Asking(const std::vector<std::string>& paths, Instant at) {
    RestoreRequest request;
    request.volume = "v";
    request.paths = paths;
    request.at = at;
    return request;
  }
  RestoreReport Restore(const std::vector<std::string>& paths, Instant at,
                        const std::string& to = "") {
    RestoreRequest request = Asking(paths, at);
    request.to = to;
    return store_->Restore(request, {});
  }
  std::string Refusal(int error, const std::vector<std::string>& paths, Instant at,
                      const std::string& to = "") {
    const Tree before = Now();
    try {
      Restore(paths, at, to);
      ADD_FAILURE() << "not refused";
    } catch (const Refused& refused) {
      EXPECT_EQ(refused.error(), error) << refused.what();
      EXPECT_EQ(Compare(before, Now()), "");
      ExpectSound();
      return refused.what();
    }
    return "";
  }
  void RollBack(Instant at) {
    volume_.reset();
    CreateRequest request;
    request.name = "before";
    request.source_kind = SourceKind::kRollback;
    request.source = "v";
    request.at = at;
    store_->Create(request);
    store_->Remove("before");
    Use();
  }
  void Undo(bool redo = false) {
    const auto action = ChooseUndo(store_->ListTakenBack("v"), redo);
    ASSERT_TRUE(action);
    if (action->rollback) {
      volume_.reset();
      store_->UndoRollback("v", *action, false);
      Use();
      return;
    }
    RestoreRequest request = Asking(action->paths, Before(action->at));
    request.undoes = action->at;
    store_->Restore(request, {});
  }
  void ExpectSound() {
    const CheckReport report = store_->Check({});
    for (const Hurt& hurt : report.hurts) ADD_FAILURE() << hurt.what << " " << hurt.path;
    EXPECT_TRUE(report.sound());
  }
  // Overwrites so much of a file that segments go on, and lets the time pass in which all of it is
  // kept.
  void PassRange() {
    if (Find("/churn") == 0) Make(kRootIno, "churn");
    for (int i = 0; i < 12; ++i) {
      clock_.Forward(kMinute);
      Write(Find("/churn"), 0, random_.Bytes(100'000));
      store_->Collect();
    }
  }

  testing::TempDir temp_;
  testing::WatchedFiles files_;
  testing::ManualClock clock_;
  testing::Random random_{1};
  std::unique_ptr<Store> store_;
  std::shared_ptr<Volume> volume_;
};

TEST_F(StoreRestoreTest, ATreeIsAsItWas) {
  MakeTree();
  const Instant then = store_->Now();
  const Tree was = Now();
  volume_->Unlink({}, Find("/d"), "plain");
  Write(Find("/d/second name"), 100, "changed");
  volume_->Rename({}, Find("/d/sub"), "deeper", kRootIno, "elsewhere", 0);
  Make(Find("/d"), "new");
  const Tree changed = Now();
  const Instant before = store_->Now();
  const VolumeStatus status = store_->Status("v");
  const RestoreReport report = Restore({"/d"}, then);
  const Tree now = Now();
  EXPECT_EQ(Compare(Below(was, "/d"), Below(now, "/d")), "");
  EXPECT_EQ(Compare(Below(changed, "/elsewhere"), Below(now, "/elsewhere")), "");
  ASSERT_EQ(report.paths.size(), 1u);
  EXPECT_EQ(report.paths[0].kind, RestoreChange::Kind::kReplace);
  EXPECT_EQ(report.bytes, 300'000 + 90 * kMiB + 9 + 490);
  // Nothing was copied but names and inodes.
  EXPECT_LT(store_->Status("v").history_bytes, status.history_bytes + 200'000);
  ExpectSound();
  // The past is what it was.
  EXPECT_EQ(Compare(was, CollectTree(*store_->OpenAt("v", then)).tree), "");
  EXPECT_EQ(Compare(changed, CollectTree(*store_->OpenAt("v", before)).tree), "");
  EXPECT_EQ(Compare(changed, CollectTree(*store_->OpenAt("v", Before(*report.done))).tree), "");
  EXPECT_EQ(
      Compare(Below(was, "/d"), Below(CollectTree(*store_->OpenAt("v", *report.done)).tree, "/d")),
      "");
  Open();
  Use();
  EXPECT_EQ(Compare(Now(), now), "");
}

TEST_F(StoreRestoreTest, WhatWasThereStaysForWhoHasItOpen) {
  MakeTree();
  const Instant then = store_->Now();
  const Ino old = Find("/d/sub/deeper/file");
  Write(old, 0, "newer");
  RestoreRequest request = Asking({"/d"}, then);
  RestoreHooks hooks;
  std::vector<Ino> nameless;
  hooks.mounted = [] { return true; };
  hooks.nameless = [&](const std::vector<Ino>& inos) {
    nameless.insert(nameless.end(), inos.begin(), inos.end());
  };
  store_->Restore(request, hooks);
  EXPECT_EQ(Read("/d/sub/deeper/file"), std::string(5, '\0') + "text");
  ASSERT_TRUE(volume_->FindInode(old));
  EXPECT_EQ(volume_->FindInode(old)->nlink, 0u);
  std::string text(9, '\0');
  volume_->Read(old, 0, text);
  EXPECT_EQ(text, "newertext");
  EXPECT_THAT(nameless, ::testing::Contains(old));
  for (const Ino ino : nameless) volume_->Forget(ino);
  EXPECT_THAT(volume_->Unlinked(), ::testing::IsEmpty());
  ExpectSound();
}

TEST_F(StoreRestoreTest, MissingDirectoriesAreMadeAsTheyWere) {
  MakeTree();
  const Instant then = store_->Now();
  const Tree was = Now();
  volume_->Rename({}, kRootIno, "d", kRootIno, "gone", 0);
  Restore({"/d/sub/deeper/file", "/d/sub/n7", "d/sub/deeper", "/d/plain"}, then);
  const Tree now = Now();
  EXPECT_EQ(Compare(Below(was, "/d/sub/deeper"), Below(now, "/d/sub/deeper")), "");
  EXPECT_EQ(now.at("/d").mode, was.at("/d").mode);
  EXPECT_EQ(now.at("/d/sub").xattrs, was.at("/d/sub").xattrs);
  EXPECT_EQ(now.at("/d/sub").mtime, was.at("/d/sub").mtime);
  EXPECT_EQ(now.at("/d/plain").content_hash, was.at("/d/plain").content_hash);
  EXPECT_EQ(Read("/d/sub/n7"), "7");
  EXPECT_EQ(Below(now, "/d").size(), 6u);
  const auto actions = store_->ListTakenBack("v");
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_THAT(actions[0].paths, ElementsAre("/d"));
  Undo();
  EXPECT_EQ(Find("/d"), 0u);
  EXPECT_EQ(Compare(Below(was, "/d"), Below(Now(), "/gone")), "");
}

TEST_F(StoreRestoreTest, IntoAnotherDirectory) {
  MakeTree();
  const Instant then = store_->Now();
  const Tree was = Now();
  Write(Find("/d/plain"), 0, "changed");
  Make(kRootIno, "there", S_IFDIR | 0700);
  Restore({"/d/sub", "/d/plain"}, then, "/there/new");
  Restore({"/"}, then, "/all");
  const Tree now = Now();
  EXPECT_EQ(Compare(Below(was, "/d/sub"), Below(now, "/there/new/sub")), "");
  EXPECT_EQ(now.at("/there/new/plain").content_hash, was.at("/d/plain").content_hash);
  EXPECT_EQ(Compare(Below(was, "/d"), Below(now, "/all/d")), "");
  EXPECT_NE(now.at("/d/plain").content_hash, was.at("/d/plain").content_hash);
  ExpectSound();
  EXPECT_THAT(Refusal(EEXIST, {"/d/sub"}, then, "/there/new"), HasSubstr("exists"));
  EXPECT_THAT(Refusal(EEXIST, {"/d/plain", "/all/d/plain"}, store_->Now(), "/x"),
              HasSubstr("two of the paths"));
}

TEST_F(StoreRestoreTest, RefusesInOneLineAndChangesNothing) {
  const Instant empty = store_->Now();
  MakeTree();
  const Instant then = store_->Now();
  EXPECT_THAT(Refusal(ENOENT, {"/d/plian"}, then),
              HasSubstr("similar ones that were: \"/d/plain\""));
  EXPECT_THAT(Refusal(ENOENT, {"/d"}, empty), HasSubstr("it was there from "));
  EXPECT_THAT(Refusal(ENOENT, {"/d/link/x"}, then), HasSubstr("name the path that it leads to"));
  EXPECT_THAT(Refusal(ENOENT, {"/d/plain/x"}, then), HasSubstr("\"/d/plain\" was a file"));
  EXPECT_THAT(Refusal(EINVAL, {"/"}, then), HasSubstr("roll the volume back"));
  EXPECT_THAT(Refusal(EINVAL, {"/d/../d"}, then), HasSubstr("it contains .."));
  EXPECT_THAT(Refusal(EPERM, {"/.rewind/10m/d"}, then), HasSubstr(".rewind"));
  EXPECT_THAT(Refusal(EPERM, {"/d"}, then, ".rewind"), HasSubstr(".rewind"));
  EXPECT_THAT(Refusal(ERANGE, {"/d"}, Instant{clock_.now() + kMinute}), HasSubstr("in the future"));
  EXPECT_THAT(Refusal(ERANGE, {"/d"}, Instant{5}), HasSubstr("before the first instant"));
  EXPECT_THAT(Refusal(EINVAL, {}, then), HasSubstr("a path is needed"));
  EXPECT_THAT(Refusal(ENOTDIR, {"/d/sub"}, then, "/d/plain"), HasSubstr("is a file now"));
  volume_->Rename({}, kRootIno, "d", kRootIno, "gone", 0);
  Make(kRootIno, "d");
  EXPECT_THAT(Refusal(ENOTDIR, {"/d/sub"}, then), HasSubstr("\"/d\" is a file now"));
  Restore({"/d"}, then);
  EXPECT_EQ(Read("/d/sub/n5"), "5");
  CreateRequest request;
  request.name = "s";
  request.source_kind = SourceKind::kSnapshotOf;
  request.source = "v";
  store_->Create(request);
  RestoreRequest into_snapshot = Asking({"/d"}, then);
  into_snapshot.volume = "s";
  try {
    store_->Restore(into_snapshot, {});
    ADD_FAILURE();
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), EROFS);
  }
}

TEST_F(StoreRestoreTest, AFullVolumeStaysAsItIs) {
  MakeTree();
  const Instant then = store_->Now();
  const Ino big = Make(Find("/d/sub"), "big");
  for (int i = 0; i < 8; ++i) Write(big, i * kMiB, random_.Bytes(kMiB));
  const Instant with_big = store_->Now();
  store_->Set("v", {{"size", "12M"}});
  EXPECT_THAT(Refusal(ENOSPC, {"/d/sub"}, with_big), HasSubstr("nothing was changed"));
  EXPECT_THAT(volume_->Unlinked(), ::testing::IsEmpty());
  const uint64_t bytes = store_->Status("v").live_bytes;
  Restore({"/d/plain"}, then);  // what fits, fits
  Restore({"/d/plain"}, then);
  EXPECT_EQ(store_->Status("v").live_bytes,
            bytes + volume_->FindInode(Find("/d/plain"))->allocated);
  ExpectSound();
}

TEST_F(StoreRestoreTest, ADryRunTellsWhatWouldChangeAndChangesNothing) {
  MakeTree();
  const Instant then = store_->Now();
  Write(Find("/d/sub/n1"), 0, "changed");
  volume_->Unlink({}, Find("/d/sub"), "n2");
  Make(Find("/d/sub"), "new");
  const Tree before = Now();
  RestoreRequest request = Asking({"/d/sub"}, then);
  request.dry_run = true;
  const RestoreReport report = store_->Restore(request, {});
  EXPECT_FALSE(report.done);
  EXPECT_EQ(Compare(before, Now()), "");
  std::vector<std::string> lines;
  for (const RestoreChange& change : report.changes)
    lines.push_back(std::string(RestoreChangeName(change.kind)) + " " + change.path);
  EXPECT_THAT(lines, ::testing::UnorderedElementsAre("replace /d/sub", "replace /d/sub/n1",
                                                     "create /d/sub/n2", "remove /d/sub/new"));
  EXPECT_EQ(report.created, 1u);
  EXPECT_EQ(report.replaced, 2u);
  EXPECT_EQ(report.removed, 1u);
  EXPECT_EQ(report.unchanged, 200u);
  EXPECT_TRUE(store_->ListTakenBack("v").empty());
}

// The heart of it: data that only the past still showed, brought back, while that past goes.
TEST_F(StoreRestoreTest, WhatWasRestoredOutlivesTheHistoryThatItCameFrom) {
  MakeTree();
  const Tree was = Now();
  const Instant then = store_->Now();
  clock_.Forward(kMinute);
  for (const char* name : {"plain", "second name"}) volume_->Unlink({}, Find("/d"), name);
  volume_->Unlink({}, kRootIno, "third name");
  for (const Ino ino : volume_->Unlinked()) volume_->Forget(ino);
  volume_->Rename({}, kRootIno, "d", kRootIno, "old", 0);
  Restore({"/old"}, store_->Now(), "/x");  // shares what is still there
  store_->SetMark({"v"}, "keep", "", then);
  for (int i = 0; i < 30; ++i)
    Write(Make(kRootIno, "f" + std::to_string(i)), 0, random_.Bytes(90'000));
  // From beyond the range of every write, by the mark alone.
  PassRange();
  Restore({"/d"}, then);
  store_->RemoveMark("v", "keep");
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(Compare(Below(was, "/d"), Below(Now(), "/d")), "") << "round " << round;
    ExpectSound();
    PassRange();
    if (round == 0) {
      Open();
      Use();
    }
  }
  // With the history gone, as much is on the disk as lives, and some dead data.
  EXPECT_EQ(Compare(Below(was, "/d"), Below(Now(), "/d")), "");
  volume_->Unlink({}, Find("/d"), "plain");
  volume_->Unlink({}, Find("/d"), "second name");
  for (const Ino ino : volume_->Unlinked()) volume_->Forget(ino);
  PassRange();
  PassRange();
  EXPECT_LT(store_->Status("v").history_bytes,
            store_->Status("v").live_bytes + 12 * 110'000 + 2 * kMiB);
}

// A run that has begun to move data does not know that they are restored meanwhile.
TEST_F(StoreRestoreTest, WhatIsRestoredWhileItIsMovedOutlivesItsHistoryToo) {
  const Ino file = Make(kRootIno, "f"), dying = Make(kRootIno, "dying");
  for (int i = 0; i < 20; ++i) {
    Write(file, i * 8192, random_.Bytes(8192));
    Write(dying, 0, random_.Bytes(16384));
  }
  const std::string was = Read("/f");
  const Instant then = store_->Now();
  store_->SetMark({"v"}, "keep", "", then);
  volume_->Unlink({}, kRootIno, "f");
  volume_->Forget(file);
  Make(kRootIno, "churn");
  bool restored = false;
  files_.before_write = [&](const std::string& path) {
    if (restored || path.find("/2147") == path.npos) return;
    restored = true;
    Restore({"/f"}, then);
  };
  PassRange();
  files_.before_write = nullptr;
  ASSERT_TRUE(restored);
  EXPECT_EQ(Read("/f") == was, true);
  store_->RemoveMark("v", "keep");
  for (int round = 0; round < 3; ++round) {
    store_->Collect();
    Open();
    Use();
    EXPECT_EQ(Read("/f") == was, true);
    ExpectSound();
    PassRange();
  }
}

// Of what a rollback took away, which is nobody's timeline any more once its range has passed.
TEST_F(StoreRestoreTest, OutOfWhatARollbackTookAway) {
  const Instant empty = store_->Now();
  RollBack(empty);
  MakeTree();
  const Tree was = Now();
  const Instant then = store_->Now();
  RollBack(empty);
  EXPECT_EQ(Find("/d"), 0u);
  Restore({"/d"}, then);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(Compare(Below(was, "/d"), Below(Now(), "/d")), "") << "round " << round;
    ExpectSound();
    PassRange();
  }
  Open();
  Use();
  EXPECT_EQ(Compare(Below(was, "/d"), Below(Now(), "/d")), "");
}

TEST_F(StoreRestoreTest, UndoGoesBackAndRedoForward) {
  const Ino file = Make(kRootIno, "f");
  std::vector<Instant> at;
  for (const char* text : {"one", "two", "three", "four"}) {
    Write(file, 0, text);
    AttrChange size;
    size.size = std::string(text).size();
    volume_->SetAttr({}, file, size);
    at.push_back(store_->Now());
  }
  Restore({"/f"}, at[0]);
  Restore({"/f"}, at[1]);
  EXPECT_EQ(Read("/f"), "two");
  RollBack(at[2]);
  EXPECT_EQ(Read("/f"), "three");
  Undo();
  EXPECT_EQ(Read("/f"), "two");
  Undo();
  EXPECT_EQ(Read("/f"), "one");
  Undo(true);
  EXPECT_EQ(Read("/f"), "two") << "the undo is taken back";
  Undo();
  EXPECT_EQ(Read("/f"), "one");
  Undo();
  EXPECT_EQ(Read("/f"), "four");
  EXPECT_FALSE(ChooseUndo(store_->ListTakenBack("v"), false));
  Undo(true);
  Undo(true);
  EXPECT_EQ(Read("/f"), "two");
  Undo(true);
  EXPECT_EQ(Read("/f"), "three");
  EXPECT_FALSE(ChooseUndo(store_->ListTakenBack("v"), true));
  Open();
  Use();
  Undo();
  EXPECT_EQ(Read("/f"), "two");
  Restore({"/f"}, at[3]);
  EXPECT_FALSE(ChooseUndo(store_->ListTakenBack("v"), true)) << "there is something newer";
  ExpectSound();
}

TEST_F(StoreRestoreTest, IsAnEventAndNothingElseIs) {
  MakeTree();
  const Instant then = store_->Now();
  Write(Find("/d/plain"), 0, "changed");
  const Instant from = store_->Now();
  Restore({"/d"}, then);
  std::vector<std::string> lines;
  EventLog log(store_.get(), "v", [&](const LogLine& line) {
    if (line.event != "sync") lines.push_back(line.event + " " + line.path + " " + line.detail);
  });
  EventQuery query;
  query.from = from;
  const EventsRead read = store_->ReadEvents("v", query, [&](const Event& event) {
    log.Add(event);
    return true;
  });
  log.End(read.until);
  EXPECT_THAT(lines, ElementsAre("restore /d as of " + FormatInstant(then)));
}

TEST_F(StoreRestoreTest, WhoLooksForSomethingInThePastFindsWhatItDid) {
  MakeTree();
  const Instant then = store_->Now();
  Write(Find("/d/sub/n1"), 0, "changed");
  volume_->Unlink({}, Find("/d/sub"), "n2");
  const Ino made = Make(Find("/d/sub"), "made", S_IFDIR | 0755);
  Make(made, "file");
  const Instant before = store_->Now();
  const RestoreReport report = Restore({"/d"}, then);
  const Instant after = store_->Now();
  const auto past = store_->OpenPast("v");
  // Between two instants: what was made anew as it had been is no change.
  for (const bool use_events : {true, false}) {
    std::vector<std::string> lines;
    for (const TreeChange& change :
         CompareInstants(*store_, *past, before, after, use_events).changes)
      lines.push_back(std::string(TreeChangeName(change.kind)) + " " + change.path);
    EXPECT_THAT(lines, ElementsAre("changed /d", "removed /d/sub/made", "removed /d/sub/made/file",
                                   "changed /d/sub/n1", "added /d/sub/n2"))
        << use_events;
  }
  // At no instant in between is there anything else than a tree.
  const Tree was = CollectTree(*store_->OpenAt("v", before)).tree;
  for (Instant at = before; at < *report.done; at.ns += 1 + (report.done->ns - before.ns) / 4) {
    EXPECT_EQ(Compare(was, CollectTree(*store_->OpenAt("v", at)).tree), "");
    for (const TreeChange& change : CompareInstants(*store_, *past, before, at).changes)
      ADD_FAILURE() << change.path;
  }
  // What went with the directory that was displaced is found among what was removed.
  DeletedQuery query;
  query.since = before;
  std::vector<std::string> deleted;
  for (const auto& found : FindDeleted(*past, query).paths) deleted.push_back(found.path);
  EXPECT_THAT(deleted, ::testing::UnorderedElementsAre("/d/sub/made", "/d/sub/made/file"));
  const PathHistory history = ReadPathHistory(*past, {"d", "sub", "n1"}, {});
  ASSERT_FALSE(history.changes.empty());
  EXPECT_THAT(history.changes[0].what, ElementsAre("restored, as of " + FormatInstant(then)));
  const PathHistory gone = ReadPathHistory(*past, {"d", "sub", "made"}, {});
  ASSERT_FALSE(gone.changes.empty());
  EXPECT_THAT(gone.changes[0].what,
              ElementsAre("removed by a restore, as of " + FormatInstant(then)));
}

// What was written is told from what was moved and from what is shared.
TEST_F(StoreRestoreTest, DataThatCameBackAreNoChangeWhereverTheyLie) {
  constexpr uint64_t kBytes = 20 * 8192;
  const Ino source = Make(kRootIno, "source"), copy = Make(kRootIno, "copy");
  const Ino written = Make(kRootIno, "written"), dying = Make(kRootIno, "dying");
  for (uint64_t at = 0; at < kBytes; at += 8192) {
    Write(source, at, random_.Bytes(8192));
    Write(dying, 0, random_.Bytes(16384));
  }
  Write(written, 0, random_.Bytes(8192));
  Make(kRootIno, "churn");
  volume_->CopyRange({}, source, 0, copy, 0, kBytes);
  bool moved = false;
  files_.before_write = [&](const std::string& path) { moved |= path.find("/2147") != path.npos; };
  for (int round = 0; round < 3; ++round) {
    const Instant before = store_->Now();
    store_->SetMark({"v"}, "before " + std::to_string(round), "", before);
    PassRange();
    Write(copy, 0, random_.Bytes(8192));
    Write(written, 0, random_.Bytes(8192));
    volume_->CopyRange({}, source, 0, copy, 0, kBytes);
    std::vector<std::string> lines;
    const auto past = store_->OpenPast("v");
    for (const TreeChange& change : CompareInstants(*store_, *past, before, past->now()).changes)
      lines.push_back(change.path + " " + ::testing::PrintToString(change.what));
    EXPECT_THAT(lines, ElementsAre("/churn { \"contents\" }", "/copy { \"mtime\" }",
                                   "/written { \"contents\" }"));
  }
  EXPECT_TRUE(moved);
  files_.before_write = nullptr;
}

TEST_F(StoreRestoreTest, AnIndexThatIsMadeAgainHasItToo) {
  MakeTree();
  const Instant then = store_->Now();
  const Tree was = Now();
  volume_->Rename({}, kRootIno, "d", kRootIno, "gone", 0);
  Restore({"/d"}, then);
  volume_.reset();
  store_.reset();
  std::filesystem::remove_all(temp_.path() / "root/index");
  Open();
  Use();
  EXPECT_EQ(Compare(Below(was, "/d"), Below(Now(), "/d")), "");
  EXPECT_EQ(store_->ListTakenBack("v").size(), 1u);
  ExpectSound();
}

}  // namespace
}  // namespace rw
