// What the parts of a write and a read cost by themselves, so that a regression is found in
// seconds.
//
//   micro_bench [--benchmark_filter=REGEX]     (Google Benchmark; the files lie under TMPDIR)
#include <benchmark/benchmark.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>

#include "fs/figures.h"
#include "fs/journal.h"
#include "metadata/index.h"
#include "metadata/view.h"

namespace {

using rw::Instant;

constexpr rw::TimelineId kTimeline = 1;
constexpr rw::Ino kIno = 2;
constexpr uint64_t kChunks = 8192;  // 1 GiB
constexpr uint32_t kBlockBytes = 4096;
constexpr uint32_t kVersionsUntilFull = 32;
constexpr uint64_t kFirstInstant = 1'800'000'000'000'000'000;
constexpr uint64_t kBetween = 50'000;
constexpr uint32_t kWriteOpcode = 16;  // FUSE_WRITE

class Directory {
 public:
  Directory() {
    const char* const base = std::getenv("TMPDIR");
    path_ = std::string(base != nullptr ? base : "/var/tmp") + "/rewind-micro-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// An index, and what a write of 4 KiB commits to it.
class WrittenIndex {
 public:
  WrittenIndex() {
    rw::Index::Options options;
    options.path = directory_.path();
    index_ = rw::Index::Open(options);
  }

  void Write(uint64_t chunk) {
    rw::Mutations mutations;
    rw::Inode inode;
    inode.mode = S_IFREG | 0644;
    inode.nlink = 1;
    inode.size = inode.allocated = kChunks * rw::kChunkBytes;
    mutations.inodes.push_back({kIno, inode});
    rw::ChunkVersion version;
    rw::Extent extent;
    extent.offset =
        static_cast<uint32_t>(random_() % (rw::kChunkBytes / kBlockBytes)) * kBlockBytes;
    extent.length = kBlockBytes;
    extent.timeline = kTimeline;
    extent.segment = 1 + static_cast<uint32_t>(writes_ >> 14);
    extent.frame_position = static_cast<uint32_t>(writes_ & 0x3fff) * kBlockBytes;
    version.full = writes_ / kChunks % kVersionsUntilFull == 0;
    version.extents.push_back(extent);
    mutations.chunks.push_back({kIno, chunk, version});
    const Instant at = InstantOf(++writes_);
    index_->Commit(kTimeline, at, mutations, {{extent.segment, extent.frame_position}, at, {}, at},
                   kBlockBytes, std::nullopt);
  }
  void WriteAtRandom() { Write(RandomChunk()); }

  static Instant InstantOf(uint64_t write) { return Instant{kFirstInstant + write * kBetween}; }
  uint64_t RandomChunk() { return random_() % kChunks; }
  Instant RandomInstant() { return InstantOf(random_() % writes_ + 1); }
  rw::View ViewAt(Instant at) { return {index_.get(), {{kTimeline, at}}}; }

 private:
  Directory directory_;
  std::unique_ptr<rw::Index> index_;
  std::mt19937_64 random_{1};
  uint64_t writes_ = 0;
};

void JournalAppend(benchmark::State& state) {
  const Directory directory;
  rw::Journal journal(rw::FileLayer::Posix(), directory.path() + "/1", kTimeline, {}, {}, true,
                      [](const rw::ScannedRecord&) {});
  const std::string body(48, 'b');
  const std::string data(static_cast<size_t>(state.range(0)), 'd');
  uint64_t instant = kFirstInstant;
  for ([[maybe_unused]] auto _ : state) {
    journal.Append(rw::RecordType::kWrite, Instant{++instant}, instant, body, data);
    if (state.range(1) != 0) journal.Sync();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(JournalAppend)
    ->ArgNames({"bytes", "sync"})
    ->Args({kBlockBytes, 0})
    ->Args({1 << 20, 0})
    ->Args({kBlockBytes, 1});

void IndexCommit(benchmark::State& state) {
  WrittenIndex index;
  uint64_t chunk = 0, writes = 0;
  for ([[maybe_unused]] auto _ : state) {
    if (state.range(0) != 0) {
      index.WriteAtRandom();
    } else {
      index.Write(chunk);
      if (++writes % (rw::kChunkBytes / kBlockBytes) == 0) chunk = (chunk + 1) % kChunks;
    }
  }
}
BENCHMARK(IndexCommit)->ArgName("random")->Arg(0)->Arg(1);

// One for all who read: it takes longer to make than to read.
WrittenIndex& ManyWrites() {
  static WrittenIndex index;
  static const bool written = [] {
    constexpr int kWrites = 500'000;
    for (int i = 0; i < kWrites; ++i) index.WriteAtRandom();
    return true;
  }();
  benchmark::DoNotOptimize(written);
  return index;
}

void ExtentLookup(benchmark::State& state) {
  WrittenIndex& index = ManyWrites();
  const rw::View head = index.ViewAt(rw::kInstantMax);
  for ([[maybe_unused]] auto _ : state)
    benchmark::DoNotOptimize(head.FindChunk(kIno, index.RandomChunk(), {}));
}
BENCHMARK(ExtentLookup);

// At an instant that nobody has asked for before.
void ViewLookup(benchmark::State& state) {
  WrittenIndex& index = ManyWrites();
  for ([[maybe_unused]] auto _ : state) {
    const rw::View view = index.ViewAt(index.RandomInstant());
    benchmark::DoNotOptimize(view.FindInode(kIno));
    benchmark::DoNotOptimize(view.FindChunk(kIno, index.RandomChunk(), {}));
  }
}
BENCHMARK(ViewLookup);

// What counting for monitoring adds to a write request: what Session::Process and the operation do
// of it, with the two looks at the clock.
void CountWrite(benchmark::State& state) {
  const auto figures = rw::FiguresOf("volume");
  for ([[maybe_unused]] auto _ : state) {
    const auto begun = std::chrono::steady_clock::now();
    figures->CountBytes(rw::RequestKind::kWrite, kBlockBytes);
    const uint64_t took = rw::NanosecondsSince(begun);
    const rw::RequestKind kind = rw::KindOfOpcode(kWriteOpcode);
    rw::CountRequest(kind, took);
    figures->Count(kind, took);
  }
}
BENCHMARK(CountWrite)->Threads(1)->Threads(2);

}  // namespace

BENCHMARK_MAIN();
