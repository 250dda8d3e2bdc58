// Goal: on a disk that fills up, the oldest unpinned history goes before an application is refused;
// when nothing but pinned history is left, the application gets ENOSPC and loses nothing; and when
// there is room again, the same mount goes on.
//
// Method: the data root on a small filesystem of its own, a volume on it mounted, a file that is
// overwritten many times over; a foreign file that takes what is left.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "metadata/refused.h"
#include "tests/support/mounted_volume.h"
#include "tests/support/random.h"
#include "tests/support/system_clock.h"

namespace rw::testing {
namespace {

constexpr uint64_t kDiskBytes = 192 << 20;
constexpr uint64_t kFileBytes = 16 << 20;
constexpr size_t kPieceBytes = 64 << 10;

class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string size = "size=" + std::to_string(kDiskBytes);
    ASSERT_EQ(mount("tmpfs", disk_.path().c_str(), "tmpfs", 0, size.c_str()), 0);
    Open();
    CreateRequest request;
    request.name = "volume";
    store_->Create(request);
    mounted_.emplace(*store_, "volume");
  }
  void TearDown() override {
    mounted_.reset();
    store_.reset();
    umount2(disk_.path().c_str(), MNT_DETACH);
  }

  void Open() {
    StoreOptions options(disk_.path() / "root", SystemNanoseconds);
    options.max_segment_bytes = 2 << 20;
    options.collector.reserve_bytes = 32 << 20;
    store_ = Store::Open(std::move(options));
  }

  std::string File() const { return mounted_->path() + "/file"; }

  // Writes the whole file again; 0 or the errno of what failed first. What was written is in
  // `expected_`, piece by piece.
  int Overwrite(char with) {
    const int fd = open(File().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) return errno;
    int error = 0;
    expected_.resize(kFileBytes / kPieceBytes, '\0');
    for (size_t piece = 0; piece < expected_.size() && error == 0; ++piece) {
      const std::string data(kPieceBytes, with);
      const ssize_t written =
          pwrite(fd, data.data(), data.size(), static_cast<off_t>(piece * kPieceBytes));
      if (written == static_cast<ssize_t>(kPieceBytes)) {
        expected_[piece] = with;
      } else {
        error = written < 0 ? errno : EIO;
      }
    }
    close(fd);
    return error;
  }

  // Through the page cache and without it.
  void ExpectContents() {
    const int fd = open(File().c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    std::string data(kPieceBytes, '#');
    for (size_t piece = 0; piece < expected_.size(); ++piece) {
      const ssize_t got =
          pread(fd, data.data(), data.size(), static_cast<off_t>(piece * kPieceBytes));
      if (expected_[piece] == '\0' && got == 0) continue;  // never got that far
      ASSERT_EQ(got, static_cast<ssize_t>(kPieceBytes)) << "piece " << piece;
      ASSERT_EQ(data, std::string(kPieceBytes, expected_[piece])) << "piece " << piece;
    }
    close(fd);
  }

  uint64_t FreeBytes() const { return std::filesystem::space(disk_.path()).available; }

  // Takes all but `left` of what the disk has.
  void FillDisk(uint64_t left, const char* name = "foreign") {
    const int fd =
        open((disk_.path() / name).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    ASSERT_GE(fd, 0);
    const uint64_t available = FreeBytes();
    if (available > left) {
      ASSERT_EQ(posix_fallocate(fd, 0, static_cast<off_t>(available - left)), 0);
    }
    close(fd);
  }

  TempDir disk_;
  std::unique_ptr<Store> store_;
  std::optional<MountedVolume> mounted_;
  std::vector<char> expected_;
};

TEST_F(FullDiskTest, OldHistoryGoesBeforeTheApplicationIsRefused) {
  // Thirty times what fits.
  const Instant created = store_->Find("volume")->created;
  for (int round = 0; round < 40; ++round) {
    ASSERT_EQ(Overwrite(static_cast<char>('a' + round % 26)), 0) << "round " << round;
  }
  ExpectContents();
  const VolumeStatus status = store_->Status("volume");
  EXPECT_GT(status.history_first, created);
  EXPECT_NE(status.pressure, "");
  // What is still kept is what it was.
  const auto view = store_->OpenAt("volume", status.history_first);
  const auto file = view->Lookup(kRootIno, "file");
  ASSERT_TRUE(file.has_value());
  std::string data(4096, '#');
  ASSERT_EQ(view->Read(file->ino, 0, data), data.size());
  EXPECT_EQ(data, std::string(data.size(), data[0]));
}

TEST_F(FullDiskTest, PinnedHistoryIsKeptAndTheMountGoesOnWhenItGoes) {
  int error = 0;
  int round = 0;
  for (; round < 40 && error == 0; ++round) {
    error = Overwrite(static_cast<char>('a' + round % 26));
    if (error == 0) {
      try {
        store_->SetMark({"volume"}, "round-" + std::to_string(round), "", std::nullopt);
      } catch (const Refused& refused) {
        error = refused.error();
      }
    }
  }
  ASSERT_EQ(error, ENOSPC);
  ASSERT_GT(round, 4);
  ExpectContents();
  // Every mark still shows its round.
  for (const Mark& mark : store_->Marks("volume")) {
    const auto view = store_->OpenAt("volume", mark.at);
    const int number = std::stoi(mark.label.substr(mark.label.find('-') + 1));
    std::string data(4096, '#');
    const auto file = view->Lookup(kRootIno, "file");
    ASSERT_TRUE(file.has_value());
    view->Read(file->ino, kFileBytes - data.size(), data);
    EXPECT_EQ(data, std::string(data.size(), static_cast<char>('a' + number % 26))) << mark.label;
  }
  for (const Mark& mark : store_->Marks("volume")) store_->RemoveMark("volume", mark.label);
  store_->Collect();
  for (int more = 0; more < 3; ++more) {
    ASSERT_EQ(Overwrite(static_cast<char>('A' + more)), 0);
  }
  ExpectContents();
}

TEST_F(FullDiskTest, NothingIsLostWhenOthersFillTheDisk) {
  ASSERT_EQ(Overwrite('a'), 0);
  store_->SetMark({"volume"}, "kept", "", std::nullopt);
  FillDisk(0);
  int error = 0;
  for (int round = 0; round < 20 && error == 0; ++round) error = Overwrite('b');
  EXPECT_EQ(error, ENOSPC);
  ExpectContents();
  // The index cannot be flushed either.
  try {
    store_->Collect();
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), ENOSPC);
  }
  ExpectContents();
  std::filesystem::remove(disk_.path() / "foreign");
  ASSERT_EQ(Overwrite('c'), 0);
  ASSERT_EQ(Overwrite('d'), 0);
  ExpectContents();
  // And nothing of it is forgotten by the next start.
  mounted_.reset();
  store_.reset();
  Open();
  mounted_.emplace(*store_, "volume");
  ExpectContents();
  const auto view = store_->OpenAt("volume", store_->Marks("volume").front().at);
  std::string data(4096, '#');
  view->Read(view->Lookup(kRootIno, "file")->ino, 0, data);
  EXPECT_EQ(data, std::string(data.size(), 'a'));
}

TEST_F(FullDiskTest, IsOpenedWithWhatIsKeptForItOrSaysWhyNot) {
  ASSERT_EQ(Overwrite('a'), 0);
  mounted_.reset();
  store_.reset();
  FillDisk(0);
  Open();
  mounted_.emplace(*store_, "volume");
  ExpectContents();
  mounted_.reset();
  store_.reset();
  std::filesystem::remove(disk_.path() / "root" / "ballast");
  FillDisk(0, "more");
  try {
    Open();
    ADD_FAILURE() << "opened without room";
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), ENOSPC) << refused.what();
  }
  std::filesystem::remove(disk_.path() / "more");
  Open();
  mounted_.emplace(*store_, "volume");
  ExpectContents();
}

// Goal: damage to the index and a full disk together do not take all volumes away. Method: the note
// that a daemon leaves when it meets damage, on a disk without room for another index as large as
// this one seems to be.
TEST_F(FullDiskTest, ADamagedIndexIsUsedOnWhileThereIsNoRoomForAnother) {
  ASSERT_EQ(Overwrite('a'), 0);
  const auto note_damage = [&] {
    mounted_.reset();
    store_.reset();
    std::ofstream(disk_.path() / "root" / "index-damaged") << "a block";
  };
  note_damage();
  const auto large = disk_.path() / "root" / "index" / "large";
  std::ofstream{large};
  std::filesystem::resize_file(large, kDiskBytes);  // a hole
  FillDisk(1 << 20);
  Open();
  EXPECT_TRUE(store_->Health().index_damaged);
  mounted_.emplace(*store_, "volume");
  ExpectContents();
  try {
    store_->NeedRoomForIndex();
    ADD_FAILURE() << "there is no room";
  } catch (const Refused& refused) {
    EXPECT_EQ(refused.error(), ENOSPC) << refused.what();
  }
  std::filesystem::remove(large);
  std::filesystem::remove(disk_.path() / "foreign");
  ASSERT_EQ(Overwrite('b'), 0);
  note_damage();
  Open();
  EXPECT_FALSE(store_->Health().index_damaged);
  EXPECT_NO_THROW(store_->NeedRoomForIndex());
  mounted_.emplace(*store_, "volume");
  ExpectContents();
}

}  // namespace
}  // namespace rw::testing
