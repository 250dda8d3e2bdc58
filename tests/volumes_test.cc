// Goal: mounts are counted as Docker counts them, a volume has one session, and no volume waits for
// another. Method: the real store and real mounts under a directory of the test's; mounts that are
// slow or fail are made so in between.
#include "plugin/volumes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <fstream>
#include <future>
#include <set>
#include <thread>

#include "fs/volume.h"
#include "metadata/refused.h"
#include "metadata/time_text.h"
#include "plugin/mount_info.h"
#include "tests/support/temp_dir.h"

namespace rw {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
namespace stdfs = std::filesystem;

class VolumesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    StoreOptions options;
    options.root = directory_.path() / "root";
    store_ = Store::Open(std::move(options));
    volumes_ = MakeVolumes(&Session::Mount);
  }
  void TearDown() override { volumes_.reset(); }

  std::unique_ptr<Volumes> MakeVolumes(decltype(VolumesOptions::mount) mount) {
    VolumesOptions options;
    options.mounts = mounts();
    options.mount = std::move(mount);
    return std::make_unique<Volumes>(*store_, std::move(options));
  }
  stdfs::path mounts() const { return directory_.path() / "mounts"; }

  static void Write(const stdfs::path& path, const std::string& text) {
    std::ofstream file(path);
    file << text;
    ASSERT_TRUE(file.flush()) << path;
  }
  static std::string Read(const stdfs::path& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  static int ErrorOf(const std::function<void()>& action, std::string* message = nullptr) {
    try {
      action();
    } catch (const Refused& refused) {
      if (message != nullptr) *message = refused.what();
      return refused.error();
    }
    return 0;
  }

  testing::TempDir directory_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Volumes> volumes_;
};

TEST_F(VolumesTest, MountShowsTheVolumeAndUnmountTakesItAway) {
  volumes_->Create("v", {});
  EXPECT_EQ(volumes_->Find("v")->mountpoint, "");
  MountResult result = volumes_->Mount("v", "a");
  EXPECT_EQ(volumes_->Find("v")->mountpoint, result.mountpoint);
  EXPECT_EQ(stdfs::path(result.mountpoint).parent_path(), stdfs::canonical(mounts()));
  std::optional<MountEntry> entry = FindMountAt(result.mountpoint);
  ASSERT_TRUE(entry);
  EXPECT_TRUE(entry->is_rewind());
  EXPECT_EQ(entry->device, result.device);
  Write(stdfs::path(result.mountpoint) / "file", "text");
  volumes_->Unmount("v", "a");
  EXPECT_FALSE(FindMountAt(result.mountpoint));
  EXPECT_FALSE(stdfs::exists(result.mountpoint)) << "what is written there now would be lost";
  result = volumes_->Mount("v", "b");
  EXPECT_EQ(Read(stdfs::path(result.mountpoint) / "file"), "text");
}

TEST_F(VolumesTest, CountsPerVolumeAndId) {
  volumes_->Create("v", {});
  std::string mountpoint = volumes_->Mount("v", "container").mountpoint;
  // docker cp mounts and unmounts a running container's volume with the container's own ID.
  EXPECT_EQ(volumes_->Mount("v", "container").mountpoint, mountpoint);
  volumes_->Unmount("v", "container");
  EXPECT_TRUE(FindMountAt(mountpoint));
  EXPECT_EQ(volumes_->Mount("v", "other").mountpoint, mountpoint);
  volumes_->Unmount("v", "container");
  EXPECT_TRUE(FindMountAt(mountpoint));
  ASSERT_EQ(volumes_->Find("v")->holders.size(), 1u);
  EXPECT_EQ(volumes_->Find("v")->holders[0].id, "other");
  volumes_->Unmount("v", "other");
  EXPECT_FALSE(FindMountAt(mountpoint));
}

TEST_F(VolumesTest, UnmountOfWhatIsNotMountedIsNothingToDo) {
  volumes_->Create("v", {});
  volumes_->Unmount("v", "a");
  volumes_->Unmount("no-such-volume", "a");
  std::string mountpoint = volumes_->Mount("v", "a").mountpoint;
  volumes_->Unmount("v", "stranger");
  EXPECT_TRUE(FindMountAt(mountpoint));
}

TEST_F(VolumesTest, MountOfAnUnknownVolumeIsRefused) {
  EXPECT_EQ(ErrorOf([&] { volumes_->Mount("v", "a"); }), ENOENT);
  EXPECT_EQ(ErrorOf([&] { volumes_->Now("v"); }), ENOENT);
  EXPECT_EQ(ErrorOf([&] { volumes_->Remove("v"); }), ENOENT);
  EXPECT_FALSE(volumes_->Find("v"));
}

TEST_F(VolumesTest, RollbackAndRemovalNameWhoHoldsTheVolume) {
  volumes_->Create("v", {});
  std::string at = FormatInstant(store_->Now());
  volumes_->Mount("v", "3f2a9");
  volumes_->Mount("v", "cli:/mnt/x");
  std::string message;
  EXPECT_EQ(ErrorOf(
                [&] {
                  volumes_->Create("before", {{"rollback", "v"}, {"at", at}});
                },
                &message),
            EBUSY);
  EXPECT_THAT(message, HasSubstr("cannot roll back v: mounted by"));
  EXPECT_THAT(message, HasSubstr("3f2a9"));
  EXPECT_THAT(message, HasSubstr("/mnt/x"));
  EXPECT_FALSE(volumes_->Find("before"));
  EXPECT_EQ(ErrorOf([&] { volumes_->Remove("v"); }, &message), EBUSY);
  EXPECT_THAT(message, HasSubstr("cannot remove v: mounted by"));
  EXPECT_THAT(message, HasSubstr("3f2a9"));
  volumes_->Unmount("v", "3f2a9");
  volumes_->Unmount("v", "cli:/mnt/x");
  volumes_->Create("before", {{"rollback", "v"}, {"at", at}});
  volumes_->Remove("v");
}

TEST_F(VolumesTest, ARollbackThatIsDoneMayBeRepeatedWhileMounted) {
  volumes_->Create("v", {});
  std::map<std::string, std::string> options = {{"rollback", "v"},
                                                {"at", FormatInstant(store_->Now())}};
  volumes_->Create("before", options);
  volumes_->Mount("v", "a");
  EXPECT_NO_THROW(volumes_->Create("before", options));
}

TEST_F(VolumesTest, ShowsTheVolumeAtATime) {
  volumes_->Create("v", {});
  stdfs::path head = volumes_->Mount("v", "a").mountpoint;
  Write(head / "file", "old");
  std::string then = FormatInstant(volumes_->Now("v"));
  Write(head / "file", "new");
  stdfs::path past = volumes_->Mount("v", "b", then).mountpoint;
  EXPECT_NE(past, head);
  EXPECT_EQ(Read(past / "file"), "old");
  EXPECT_EQ(Read(head / "file"), "new");
  EXPECT_EQ(Read(head / ".rewind" / then / "file"), "old");
  EXPECT_FALSE(std::ofstream(past / "other").is_open());
  EXPECT_EQ(volumes_->Mount("v", "c", then).mountpoint, past) << "one session per instant";
  // The mountpoint that Docker is told is the volume's own.
  EXPECT_EQ(volumes_->Find("v")->mountpoint, head);
  EXPECT_EQ(volumes_->FindHeldBy("c"), "v");
  volumes_->Unmount("v", "b");
  EXPECT_TRUE(FindMountAt(past));
  volumes_->Unmount("v", "c");
  EXPECT_FALSE(FindMountAt(past));
  EXPECT_EQ(volumes_->FindHeldBy("c"), std::nullopt);
  EXPECT_NE(ErrorOf([&] { volumes_->Mount("v", "d", "soon"); }), 0);
  EXPECT_NE(ErrorOf([&] { volumes_->Mount("v", "d", "1000d"); }), 0);
}

TEST_F(VolumesTest, WhatWasUnmountedFromOutsideIsMountedAgain) {
  volumes_->Create("v", {});
  stdfs::path mountpoint = volumes_->Mount("v", "a").mountpoint;
  Write(mountpoint / "file", "text");
  ASSERT_EQ(umount2(mountpoint.c_str(), MNT_DETACH), 0);
  // The kernel tells the session about it in its own time.
  for (int i = 0; i < 200 && !FindMountAt(mountpoint); ++i) {
    volumes_->Mount("v", "b");
    usleep(10'000);
  }
  EXPECT_EQ(Read(mountpoint / "file"), "text");
}

TEST_F(VolumesTest, AFailedMountLeavesNothing) {
  volumes_->Create("v", {});
  volumes_.reset();
  auto fail = [](auto, auto) -> std::unique_ptr<Session> { throw Refused(ENODEV, "no luck"); };
  volumes_ = MakeVolumes(fail);
  EXPECT_EQ(ErrorOf([&] { volumes_->Mount("v", "a"); }), ENODEV);
  EXPECT_THAT(volumes_->Find("v")->holders, IsEmpty());
  EXPECT_TRUE(stdfs::is_empty(mounts()));
  EXPECT_NO_THROW(volumes_->Remove("v"));
}

TEST_F(VolumesTest, NothingWaitsForASlowMountButItsOwnVolume) {
  volumes_->Create("slow", {});
  volumes_->Create("quick", {});
  volumes_.reset();
  std::promise<void> begun, let_go;
  std::shared_future<void> released = let_go.get_future().share();
  volumes_ = MakeVolumes([&](std::shared_ptr<Volume> volume, SessionOptions options) {
    if (options.source.find("slow") != std::string::npos) {
      begun.set_value();
      released.wait();
    }
    return Session::Mount(std::move(volume), std::move(options));
  });
  auto slow = std::async(std::launch::async, [&] { volumes_->Mount("slow", "a"); });
  begun.get_future().wait();
  EXPECT_EQ(volumes_->List().size(), 2u);
  EXPECT_EQ(volumes_->Find("slow")->mountpoint, "");
  volumes_->Status("slow");
  volumes_->Mount("quick", "a");
  volumes_->Unmount("quick", "a");
  auto second = std::async(std::launch::async, [&] { volumes_->Mount("slow", "b"); });
  EXPECT_EQ(second.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  let_go.set_value();
  slow.get();
  second.get();
  EXPECT_EQ(volumes_->Find("slow")->holders.size(), 2u);
}

TEST_F(VolumesTest, ManyAtOnceEndWithNothingMounted) {
  for (int i = 0; i < 4; ++i) volumes_->Create("v" + std::to_string(i), {});
  std::vector<std::future<void>> workers;
  for (int worker = 0; worker < 8; ++worker) {
    workers.push_back(std::async(std::launch::async, [&, worker] {
      std::string id = std::to_string(worker);
      for (int i = 0; i < 20; ++i) {
        std::string name = "v" + std::to_string((worker + i) % 4);
        stdfs::path mountpoint = volumes_->Mount(name, id).mountpoint;
        Write(mountpoint / id, id);
        volumes_->List();
        volumes_->Unmount(name, id);
      }
    }));
  }
  for (auto& worker : workers) worker.get();
  for (const VolumeFacts& facts : volumes_->List()) {
    EXPECT_EQ(facts.mountpoint, "");
    EXPECT_THAT(facts.holders, IsEmpty());
  }
  EXPECT_TRUE(stdfs::is_empty(mounts()));
}

TEST_F(VolumesTest, TheMountsDirectoryIsForOneDaemonAndRootAlone) {
  struct stat status;
  ASSERT_EQ(stat(mounts().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  std::string message;
  EXPECT_EQ(ErrorOf([&] { MakeVolumes(&Session::Mount); }, &message), EBUSY);
  EXPECT_THAT(message, HasSubstr("another rewind daemon"));
}

TEST_F(VolumesTest, UnmountAllEndsEverythingAndRefusesMore) {
  volumes_->Create("v", {});
  stdfs::path mountpoint = volumes_->Mount("v", "a").mountpoint;
  volumes_->UnmountAll();
  EXPECT_FALSE(FindMountAt(mountpoint));
  EXPECT_NE(ErrorOf([&] { volumes_->Mount("v", "a"); }), 0);
}

TEST_F(VolumesTest, NamesNeverBecomePaths) {
  for (const std::string& name : {std::string("a b,c#d"), std::string("ü"), std::string(255, 'n'),
                                  std::string("-o"), std::string("allow_other\\,x")}) {
    volumes_->Create(name, {});
    stdfs::path mountpoint = volumes_->Mount(name, "a").mountpoint;
    EXPECT_THAT(mountpoint.filename().string(), ::testing::MatchesRegex("[0-9]+")) << name;
    Write(mountpoint / "file", name);
    EXPECT_EQ(Read(mountpoint / "file"), name);
    volumes_->Unmount(name, "a");
  }
}

// Keeps what it is told last of one mount, as a supervisor would.
class RememberingKeeper : public MountKeeper {
 public:
  void Put(const KeptMount& mount, bool) override { mount_ = mount; }
  void PutView(const std::string&, uint64_t, std::optional<Instant>) override {}
  void Drop(const std::string&) override {}
  void PutRemoval(const std::string& name) override { removals_.insert(name); }
  void DropRemoval(const std::string& name) override { removals_.erase(name); }
  void Upgrade() override { throw Refused(ENOTSUP, "nobody is there to do it"); }

  KeptMount mount_;
  std::set<std::string> removals_;
};

class KeptVolumesTest : public VolumesTest {
 protected:
  void SetUp() override {
    VolumesTest::SetUp();
    volumes_.reset();
    options_.mounts = mounts();
    options_.keeper = &keeper_;
    volumes_ = std::make_unique<Volumes>(*store_, options_);
    volumes_->Create("v", {});
  }
  static void OnAnotherThread(const std::function<void()>& action) { std::thread(action).join(); }

  RememberingKeeper keeper_;
  VolumesOptions options_;
};

TEST_F(KeptVolumesTest, AnAnswerTakesAwayItsOwnMarkOnly) {
  volumes_->Mount("v", "a");
  OnAnotherThread([&] { volumes_->Mount("v", "b"); });
  OnAnotherThread([&] { volumes_->Mount("v", "a"); });
  EXPECT_EQ(keeper_.mount_.unanswered, (std::map<std::string, int>{{"a", 2}, {"b", 1}}));
  volumes_->Answered();
  EXPECT_EQ(keeper_.mount_.unanswered, (std::map<std::string, int>{{"a", 1}, {"b", 1}}));
  OnAnotherThread([&] {
    volumes_->Unmount("v", "b");
    volumes_->Answered();
  });
  EXPECT_EQ(keeper_.mount_.unanswered, (std::map<std::string, int>{{"a", 1}}));
  EXPECT_EQ(keeper_.mount_.counts, (std::map<std::string, int>{{"a", 2}}));
}

TEST_F(KeptVolumesTest, ARemovalMayBeRepeatedForAWhile) {
  volumes_->RemoveOrRepeat("v");
  EXPECT_EQ(keeper_.removals_, (std::set<std::string>{"v"}));
  EXPECT_NO_THROW(volumes_->RemoveOrRepeat("v"));
  EXPECT_EQ(ErrorOf([&] { volumes_->Remove("v"); }), ENOENT);
  EXPECT_EQ(ErrorOf([&] { volumes_->RemoveOrRepeat("other"); }), ENOENT);
  volumes_->Probe();
  EXPECT_NO_THROW(volumes_->RemoveOrRepeat("v"));
  volumes_->Create("v", {});
  volumes_->RemoveOrRepeat("v");
  EXPECT_FALSE(store_->Find("v"));
}

TEST_F(KeptVolumesTest, ARemovalIsForgottenWhenNobodyCanBeRepeatingIt) {
  volumes_.reset();
  options_.repeat_patience = std::chrono::milliseconds(0);
  volumes_ = std::make_unique<Volumes>(*store_, options_);
  volumes_->Remove("v");
  EXPECT_EQ(ErrorOf([&] { volumes_->RemoveOrRepeat("v"); }), ENOENT);
  volumes_->Probe();
  EXPECT_TRUE(keeper_.removals_.empty());
}

// Hands the mount of this process on to a Volumes of this process: as after a daemon's end, but
// that the first daemon still serves.
class DoubtTest : public KeptVolumesTest {
 protected:
  std::map<std::string, int> CountsAfterMountAgain(std::chrono::milliseconds patience) {
    volumes_->Mount("v", "a");
    KeptMount kept = keeper_.mount_;
    kept.remains.device = dup(kept.remains.device);
    kept.remains.board = dup(kept.remains.board);
    VolumesOptions options = options_;
    options.mounts = directory_.path() / "others";
    options.repeat_patience = patience;
    options.mount = [](const std::shared_ptr<Volume>&, const SessionOptions& session) {
      return std::make_unique<IdleSession>(*session.inherited);
    };
    options.inherited = {kept};
    Volumes later(*store_, std::move(options));
    later.Probe();
    later.Mount("v", "a");
    return keeper_.mount_.counts;
  }

 private:
  class IdleSession : public Session {
   public:
    explicit IdleSession(SessionRemains remains) : remains_(std::move(remains)) {}
    ~IdleSession() override {
      close(remains_.device);
      close(remains_.board);
    }
    bool alive() const override { return true; }
    std::optional<SessionRemains> remains() const override { return remains_; }

   private:
    SessionRemains remains_;
  };
};

TEST_F(DoubtTest, TheSameRequestAgainAfterADaemonsEndCountsOnce) {
  EXPECT_EQ(CountsAfterMountAgain(std::chrono::hours(1)), (std::map<std::string, int>{{"a", 1}}));
}

TEST_F(DoubtTest, LaterItIsAnotherRequest) {
  EXPECT_EQ(CountsAfterMountAgain(std::chrono::milliseconds(0)),
            (std::map<std::string, int>{{"a", 2}}));
}

}  // namespace
}  // namespace rw
