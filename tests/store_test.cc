// The store: what is durable when, what one volume's trouble does to others, and what is made again
// when it was lost.
#include "fs/store.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "fs/session.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tree.h"
#include "tests/support/watched_files.h"

namespace rw {
namespace {

class StoreTest : public ::testing::Test {
 protected:
  void Open() { store_ = Store::Open({temp_.path() / "root", {}, &files_}); }
  void Create(const std::string& name, SourceKind kind = SourceKind::kNone,
              const std::string& source = "", std::optional<Instant> at = {}) {
    CreateRequest request;
    request.name = name;
    request.source_kind = kind;
    request.source = source;
    request.at = at;
    if (kind != SourceKind::kNone) request.options["source"] = source;
    store_->Create(request);
  }
  static Ino MakeFile(Volume& volume, const std::string& name, const std::string& contents) {
    const Ino ino = volume.Create({}, kRootIno, name, S_IFREG | 0644).ino;
    volume.Write({}, ino, 0, contents, false);
    return ino;
  }
  testing::Tree TreeOf(const std::string& name) {
    const auto collected = testing::CollectTree(*store_->OpenVolume(name));
    EXPECT_TRUE(collected.problems.empty()) << collected.ProblemText();
    return collected.tree;
  }

  testing::TempDir temp_;
  testing::WatchedFiles files_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, WhatADurableCopyStartsFromIsAsDurable) {
  // A clone, a snapshot volume and the target of a rollback refer to bytes in their source's
  // journal. When they are acknowledged those have to be on the disk, also if the source's
  // application never asked for it.
  Open();
  Create("source");
  const auto source = store_->OpenVolume("source");
  const std::string journal = "/journal/1/";
  for (const SourceKind kind : {SourceKind::kCloneOf, SourceKind::kSnapshotOf}) {
    MakeFile(*source, "file" + std::to_string(static_cast<int>(kind)), "not synced by anybody");
    const int before = files_.SyncsOf(journal);
    Create("copy" + std::to_string(static_cast<int>(kind)), kind, "source");
    EXPECT_GT(files_.SyncsOf(journal), before);
  }
}

TEST_F(StoreTest, AnIndexThatWasLostIsMadeAgainFromTheJournals) {
  Open();
  Create("v");
  Instant middle;
  {
    const auto v = store_->OpenVolume("v");
    MakeFile(*v, "old", std::string(200'000, 'o'));
    middle = v->last_instant();
    v->Unlink({}, kRootIno, "old");
    MakeFile(*v, "new", "n");
  }
  Create("snap", SourceKind::kSnapshotOf, "v", middle);
  Create("clone", SourceKind::kCloneOf, "v", middle);
  MakeFile(*store_->OpenVolume("clone"), "in the clone", "c");
  Create("before", SourceKind::kRollback, "v", middle);
  std::map<std::string, testing::Tree> trees;
  for (const char* name : {"v", "snap", "clone", "before"}) trees[name] = TreeOf(name);
  store_.reset();  // closed in order
  std::filesystem::remove_all(temp_.path() / "root" / "index");
  Open();
  for (const auto& [name, tree] : trees)
    EXPECT_EQ(testing::Difference(tree, TreeOf(name)), "") << name;
  Create("later", SourceKind::kCloneOf, "clone");
  EXPECT_EQ(testing::Difference(trees["clone"], TreeOf("later")), "");
}

TEST_F(StoreTest, AJournalThatCannotBeSyncedIsTheTroubleOfItsVolumeAlone) {
  Open();
  Create("bad");
  Create("good");
  const auto bad = store_->OpenVolume("bad");
  const auto good = store_->OpenVolume("good");
  MakeFile(*bad, "file", "x");
  MakeFile(*good, "file", "x");
  files_.FailSyncsOf("/journal/1/");
  EXPECT_THROW(bad->Sync(), Refused);
  EXPECT_THROW(MakeFile(*bad, "more", "x"), Refused);
  EXPECT_THROW(store_->SyncAll(), Refused);  // says so, having synced the others
  EXPECT_NO_THROW(good->Sync());
  EXPECT_NO_THROW(MakeFile(*good, "more", "x"));
  // Past half a gigabyte of journal the index flushes by itself, which syncs all journals first.
  const Ino big = MakeFile(*good, "big", "");
  const std::string megabyte(1 << 20, 'x');
  for (uint64_t i = 0; i < 600; ++i)
    good->Write({}, big, i % 16 * megabyte.size(), megabyte, false);
  EXPECT_NO_THROW(good->Sync());
  files_.FailSyncsOf("");
}

TEST_F(StoreTest, AFailedSyncIsNotForgottenWhenTheVolumeIsOpenedAgain) {
  Open();
  Create("v");
  {
    const auto v = store_->OpenVolume("v");
    MakeFile(*v, "file", "x");
    files_.FailSyncsOf("/journal/1/");
    EXPECT_THROW(v->Sync(), Refused);
  }
  files_.FailSyncsOf("");
  const int before = files_.SyncsOf("/journal/1/");
  const auto again = store_->OpenVolume("v");
  EXPECT_GT(files_.SyncsOf("/journal/1/"), before);
  EXPECT_TRUE(again->Lookup(kRootIno, "file").has_value());
}

TEST_F(StoreTest, AConnectionThatIsCutUnderLoadHurtsNobodyElse) {
  Open();
  Create("v");
  const std::string mountpoint = (temp_.path() / "mounted").string();
  mkdir(mountpoint.c_str(), 0700);
  for (int round = 0; round < 20; ++round) {
    auto session = Session::Mount(store_->OpenVolume("v"), {mountpoint, "rewind:test", {}});
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; !stop; ++i) {
          const std::string path = mountpoint + "/" + std::to_string(round) + "-" +
                                   std::to_string(t) + "-" + std::to_string(i);
          close(open(path.c_str(), O_CREAT | O_WRONLY, 0600));
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    umount2(mountpoint.c_str(), MNT_FORCE | MNT_DETACH);
    stop = true;
    for (std::thread& thread : threads) thread.join();
    session.reset();
  }
  EXPECT_FALSE(TreeOf("v").empty());
}

TEST_F(StoreTest, TheCatalogsJournalStaysSmallAndSaysItAll) {
  Open();
  Create("v");
  const std::filesystem::path control = temp_.path() / "root" / "journal" / "0";
  const auto bytes = [&] {
    uint64_t sum = 0;
    for (const auto& entry : std::filesystem::directory_iterator(control)) sum += entry.file_size();
    return sum;
  };
  const std::string note(60'000, 'n');
  for (int i = 0; i < 300; ++i) {
    store_->SetMark({"v"}, "mark", note + std::to_string(i), std::nullopt);
    if (i < 299) store_->RemoveMark("v", "mark");
  }
  const uint64_t before = bytes();
  store_->Collect();
  EXPECT_GT(before, 15u << 20);
  EXPECT_LT(bytes(), 6u << 20);
  const Instant marked = store_->Marks("v").front().at;
  store_.reset();
  // Also without the index, which is made again from the journals.
  std::filesystem::remove_all(temp_.path() / "root" / "index");
  Open();
  ASSERT_EQ(store_->Marks("v").size(), 1u);
  EXPECT_EQ(store_->Marks("v").front().at, marked);
  EXPECT_EQ(store_->Marks("v").front().note, note + "299");
  EXPECT_TRUE(store_->OpenVolume("v")->FindInode(kRootIno).has_value());
}

}  // namespace
}  // namespace rw
