// Goal: where the index lost a name's newest versions, an older one is not taken for what is there
// now.
//
// Method: one name that was given to one file after the other, so often that its versions fill
// several blocks of a table; the journal's begin is collected, so that the index cannot be made of
// it. In the index a bit is flipped, at many places one after the other; the store is opened twice,
// so that it has been made again from what can be read.
#include <errno.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/refused.h"
#include "tests/support/system_clock.h"
#include "tests/support/temp_dir.h"

namespace rw::testing {
namespace {

namespace stdfs = std::filesystem;

constexpr int kTimes = 600;
constexpr uint64_t kEveryBytes = 900;

std::unique_ptr<Store> OpenIn(const stdfs::path& root) {
  StoreOptions options(root, SystemNanoseconds);
  options.max_segment_bytes = 256 << 10;
  options.collector.background = false;
  options.collector.reserve_bytes = 0;
  return Store::Open(std::move(options));
}

// It is opened and closed hundreds of times, which a disk makes slow.
stdfs::path InMemory() {
  return stdfs::is_directory("/dev/shm") ? stdfs::path("/dev/shm") : stdfs::temp_directory_path();
}

void FlipBit(const stdfs::path& file, uint64_t at) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(at));
  const auto byte = static_cast<char>(stream.get());
  stream.seekp(static_cast<std::streamoff>(at));
  stream.put(static_cast<char>(byte ^ 4));
}

TEST(LostNamesTest, AnOlderVersionIsNotTakenForTheNewest) {
  TempDir dir(InMemory());
  const stdfs::path base = dir.path() / "base", root = dir.path() / "root";
  Ino there = 0;
  {
    auto store = OpenIn(base);
    CreateRequest request;
    request.name = "volume";
    store->Create(request);
    auto volume = store->OpenVolume("volume");
    const Ino big = volume->Create({}, kRootIno, "big", S_IFREG | 0644).ino;
    for (int i = 0; i < 20; ++i) volume->Write({}, big, 0, std::string(100'000, 'x'), false);
    store->Set("volume", {{"retention", "0"}, {"keep", "none"}});
    store->Collect();
    store->Set("volume", {{"retention", ""}, {"keep", ""}});
    for (int i = 0; i < kTimes; ++i) {
      there = volume->Create({}, kRootIno, "next", S_IFREG | 0644).ino;
      volume->Rename({}, kRootIno, "next", kRootIno, "name", 0);
    }
  }
  std::ofstream(base / "ballast") << "none";  // so that none is made each time
  spdlog::set_level(spdlog::level::off);
  size_t refused = 0, right = 0;
  for (const auto& entry : stdfs::directory_iterator(base / "index")) {
    if (entry.path().extension() != ".sst") continue;
    for (uint64_t at = 0; at < entry.file_size(); at += kEveryBytes) {
      stdfs::remove_all(root);
      stdfs::copy(base, root, stdfs::copy_options::recursive);
      FlipBit(root / "index" / entry.path().filename(), at);
      for (const bool again : {false, true}) {
        SCOPED_TRACE(entry.path().filename().string() + " at " + std::to_string(at) +
                     (again ? ", again" : ""));
        try {
          auto store = OpenIn(root);
          if (!again) store->Check({});  // so that the damage is met
          const auto found = store->OpenVolume("volume")->Lookup(kRootIno, "name");
          ASSERT_TRUE(found.has_value());
          ASSERT_EQ(found->ino, there);
          ++right;
        } catch (const Refused& error) {
          EXPECT_EQ(error.error(), EIO) << error.what();
          ++refused;
        }
      }
    }
  }
  spdlog::set_level(spdlog::level::info);
  EXPECT_GT(refused, 0u);
  EXPECT_GT(right, 0u);
  std::cout << right << " right, " << refused << " refused" << std::endl;
}

}  // namespace
}  // namespace rw::testing
