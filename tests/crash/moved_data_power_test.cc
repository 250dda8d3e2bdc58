// Goal: what was synced is there after a power failure also if the collector was just moving it:
// nothing that is durable refers to a place whose data are not.
//
// Method: a store on a disk that is recorded, with a file in segments that are to be emptied. When
// a part of it was moved, in the middle of the run, a program copies from that part by reference
// and syncs. The power fails right then, in each way in which a disk may lose what was not synced.
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>

#include "fs/segment.h"
#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "tests/support/disk_log.h"
#include "tests/support/disk_model.h"
#include "tests/support/manual_clock.h"
#include "tests/support/random.h"
#include "tests/support/temp_dir.h"

namespace rw::testing {
namespace {

constexpr size_t kPiece = 4096;
constexpr uint64_t kPieces = 150;  // of which each is a chunk version, and moved by itself
constexpr int kMovedBefore = 100;  // then the program comes
constexpr char kMoved[] = "journal/1/2147";  // segments of moved data
constexpr int kDisksOfEachKind = 4;

class MovedDataPowerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { spdlog::set_level(spdlog::level::off); }
  static void TearDownTestSuite() { spdlog::set_level(spdlog::level::info); }

  std::filesystem::path disk(const char* name) const { return directory_.path() / name; }

  std::unique_ptr<Store> Open(const std::filesystem::path& disk, DiskLog* log,
                              RecordingFiles* files) {
    StoreOptions options(disk / "root", clock_.AsFunction(), files);
    options.index.files = MakeRecordingFileSystem(log);
    options.max_segment_bytes = kMinSegmentBytes;
    options.collector.background = false;
    options.collector.reserve_bytes = 0;
    options.defaults = {{"retention", "10m"}, {"keep", "none"}};
    return Store::Open(std::move(options));
  }

  static uint64_t PlaceOf(uint64_t piece) { return piece * kChunkBytes; }

  // What is wrong, or an empty string.
  std::string Look(const DiskImage& image) {
    WriteImage(image, disk("look"));
    RecordingFiles files(nullptr);
    const auto store = Open(disk("look"), nullptr, &files);
    const auto volume = store->OpenVolume("v");
    std::string found(kPiece, '\0');
    try {
      volume->Read(copy_, 0, found);
      if (found != contents_.substr(0, kPiece)) return "the copy is another";
      for (uint64_t piece = 0; piece < kPieces; ++piece) {
        volume->Read(file_, PlaceOf(piece), found);
        if (found != contents_.substr(piece * kPiece, kPiece)) return "the file is another";
      }
    } catch (const Refused& refused) {
      return refused.what();
    }
    return {};
  }

  TempDir directory_;
  ManualClock clock_;
  Random random_{1};
  std::string contents_ = random_.Bytes(kPieces * kPiece);
  Ino file_ = 0, copy_ = 0;
};

TEST_F(MovedDataPowerTest, WhatIsDurableNamesNothingThatIsNot) {
  std::filesystem::create_directory(disk("disk"));
  DiskLog log(disk("disk"), {});
  RecordingFiles files(&log);
  auto store = Open(disk("disk"), &log, &files);
  CreateRequest request;
  request.name = "v";
  store->Create(request);
  auto volume = store->OpenVolume("v");
  const auto make = [&](const char* name) {
    return volume->Create({}, kRootIno, name, S_IFREG | 0644).ino;
  };
  file_ = make("file");
  copy_ = make("copy");
  const Ino noise = make("noise");
  for (uint64_t piece = 0; piece < kPieces; ++piece) {
    volume->Write({}, file_, PlaceOf(piece),
                  std::string_view(contents_).substr(piece * kPiece, kPiece), false);
    for (int i = 0; i < 3; ++i) volume->Write({}, noise, 0, random_.Bytes(kPiece), false);
  }
  volume->Sync();
  clock_.Forward(20 * 60 * ManualClock::kSecond);

  int moved = 0;
  size_t failure = 0;
  log.before_write = [&](const std::string& path) {
    if (path.find(kMoved) == path.npos || ++moved != kMovedBefore) return;
    volume->CopyRange({}, file_, 0, copy_, 0, kPiece);
    volume->Sync();
    failure = log.size();
  };
  store->Collect();
  ASSERT_NE(failure, 0u) << moved;
  log.before_write = nullptr;
  volume.reset();
  store.reset();

  DiskModel model(log);
  model.AdvanceTo(failure);
  for (int kind = 0; kind < kCrashKinds; ++kind) {
    for (int i = 0; i < kDisksOfEachKind; ++i) {
      ASSERT_EQ(Look(model.Fail(static_cast<CrashKind>(kind), random_)), "")
          << "of what was not synced " << NameOf(static_cast<CrashKind>(kind));
    }
  }
}

}  // namespace
}  // namespace rw::testing
