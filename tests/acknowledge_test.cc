// Goal: an operation may be acknowledged as soon as it is in the journal; whoever looks after that
// sees it, in the volume and in views of now, and if the index refuses it then, an error, never
// what was before.
//
// Method: the moment of the acknowledgement is taken hold of (Caller::acknowledge); there, others
// begin to look. For the index's refusal, a file layer under it that can be made to fail.
#include <errno.h>
#include <gtest/gtest.h>
#include <rocksdb/file_system.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"

namespace rw::testing {
namespace {

constexpr uint32_t kFileMode = S_IFREG | 0644;

// New tables of the index cannot be made while `full`.
class FullableFiles : public rocksdb::FileSystemWrapper {
 public:
  explicit FullableFiles(std::shared_ptr<std::atomic<bool>> full)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), full_(std::move(full)) {}
  const char* Name() const override { return "fullable"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* dbg) override {
    if (*full_ && path.ends_with(".sst")) return rocksdb::IOStatus::NoSpace("for a test");
    return FileSystemWrapper::NewWritableFile(path, options, result, dbg);
  }

 private:
  const std::shared_ptr<std::atomic<bool>> full_;
};

class AcknowledgeTest : public ::testing::Test {
 protected:
  AcknowledgeTest() { Open(); }

  void Open() {
    StoreOptions options(dir_.path() / "root", SystemNanoseconds);
    options.index.files = std::make_shared<FullableFiles>(full_);
    options.index.memtable_bytes = 64 << 10;
    store_.reset();
    store_ = Store::Open(std::move(options));
  }

  std::shared_ptr<Volume> Make(const std::string& name) {
    CreateRequest request;
    request.name = name;
    store_->Create(request);
    return store_->OpenVolume(name);
  }

  static std::string Read(Volume& volume, Ino ino) {
    std::string bytes(64, '#');
    bytes.resize(volume.Read(ino, 0, bytes));
    return bytes;
  }

  // Does it with somebody at the moment of its acknowledgement.
  static void Do(const std::function<void(const Caller&)>& operation,
                 const std::function<void(const InodeAttr&)>& then) {
    const Caller::Acknowledge acknowledge = then;
    Caller caller;
    caller.acknowledge = &acknowledge;
    operation(caller);
  }

  // The same, where `look` is what somebody sees who begins to look then.
  template <typename Look>
  auto LookWhen(const std::function<void(const Caller&)>& operation, Look look) {
    std::future<decltype(look())> seen;
    Do(operation, [&](const InodeAttr&) { seen = std::async(std::launch::async, look); });
    EXPECT_TRUE(seen.valid()) << "nobody waited and nothing was amiss";
    return seen.get();
  }

  TempDir dir_;
  const std::shared_ptr<std::atomic<bool>> full_ = std::make_shared<std::atomic<bool>>(false);
  std::unique_ptr<Store> store_;
};

TEST_F(AcknowledgeTest, WhatIsAcknowledgedIsSeen) {
  const auto volume = Make("volume");
  const auto now = [&] { return store_->OpenAt("volume", store_->Now()); };
  for (int round = 0; round < 100; ++round) {
    Ino ino = 0;
    Do([&](const Caller& caller) { volume->Create(caller, kRootIno, "file", kFileMode); },
       [&](const InodeAttr& made) { ino = made.ino; });
    ASSERT_EQ(volume->Lookup(kRootIno, "file")->ino, ino) << "as it was told";
    const std::string written = "round " + std::to_string(round);
    const auto write = [&](const Caller& caller) { volume->Write(caller, ino, 0, written, false); };
    EXPECT_EQ(LookWhen(write, [&] { return Read(*volume, ino); }), written);
    EXPECT_EQ(LookWhen(write, [&] { return Read(*now(), ino); }), written);
    const auto cut = [&](const Caller& caller) {
      AttrChange change;
      change.size = 3;
      volume->SetAttr(caller, ino, change);
    };
    EXPECT_EQ(LookWhen(cut, [&] { return Read(*volume, ino); }), written.substr(0, 3));
    const auto unlink = [&](const Caller& caller) { volume->Unlink(caller, kRootIno, "file"); };
    EXPECT_EQ(LookWhen(unlink, [&] { return now()->Lookup(kRootIno, "file").has_value(); }), false);
    EXPECT_EQ(volume->Lookup(kRootIno, "file"), std::nullopt);
  }
}

TEST_F(AcknowledgeTest, WhatIsNotInTheJournalIsNotAcknowledged) {
  const auto volume = Make("volume");
  const Ino ino = volume->Create({}, kRootIno, "file", kFileMode).ino;
  const JournalPosition before = volume->JournalEnd();
  JournalPosition then;
  Do([&](const Caller& caller) { volume->Write(caller, ino, 0, std::string("data"), false); },
     [&](const InodeAttr&) { then = volume->JournalEnd(); });
  EXPECT_GT(then, before);
  // What is refused is not.
  Do(
      [&](const Caller& caller) {
        EXPECT_THROW(volume->Create(caller, kRootIno, "file", kFileMode), Refused);
      },
      [&](const InodeAttr&) { ADD_FAILURE(); });
}

TEST_F(AcknowledgeTest, WhatTheIndexRefusesThenIsAnErrorAndNotThePast) {
  auto volume = Make("volume");
  auto other = Make("other");
  const Ino ino = volume->Create({}, kRootIno, "file", kFileMode).ino;
  volume->Write({}, ino, 0, std::string("before"), false);
  const auto write = [&](const Caller& caller) {
    volume->Write(caller, ino, 0, std::string("after!"), false);
  };
  const auto look = [&] { return Read(*volume, ino); };
  bool acknowledged = false;
  try {
    Do(write, [&](const InodeAttr&) {
      acknowledged = true;
      *full_ = true;
      // Somebody else's work, until the index takes no more.
      for (int i = 0;; ++i) {
        ASSERT_LT(i, 100'000);
        try {
          other->Create({}, kRootIno, "file " + std::to_string(i), kFileMode);
        } catch (const Refused&) {
          return;
        }
      }
    });
    FAIL() << "the index took it";
  } catch (const RefusedForGood& refused) {
    EXPECT_EQ(refused.error(), ENOSPC);
  }
  ASSERT_TRUE(acknowledged);
  EXPECT_THROW(look(), Refused);
  EXPECT_THROW(store_->OpenAt("volume", store_->Now()), Refused);
  Do([&](const Caller& caller) { EXPECT_THROW(write(caller), Refused); },
     [&](const InodeAttr&) { ADD_FAILURE() << "nothing is done while that is so"; });

  *full_ = false;
  // RocksDB may be looking for space by itself, and takes nothing until it has found it.
  std::string seen;
  while (seen.empty()) {
    try {
      seen = look();
    } catch (const Refused& refused) {
      ASSERT_EQ(refused.error(), ENOSPC);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  EXPECT_EQ(seen, "after!");
  EXPECT_EQ(Read(*store_->OpenAt("volume", store_->Now()), ino), "after!");
  EXPECT_EQ(LookWhen(write, look), "after!");
  volume.reset();
  other.reset();
  Open();
  volume = store_->OpenVolume("volume");
  EXPECT_EQ(look(), "after!");
}

}  // namespace
}  // namespace rw::testing
