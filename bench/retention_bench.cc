// Writes a set of files over and over under a retention, through a mount (or, with --library,
// without one), and prints what it costs: the write rate by tenths, the disk against what was
// promised, all bytes written, memory.
//
//   sudo build/retention_bench [--writes N] [--set-mib N] [--retention T] [--dir DIR] [--files N]
//   [--library]
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include "fs/allocator.h"
#include "fs/session.h"
#include "fs/store.h"
#include "fs/volume.h"
#include "metadata/quantity.h"

namespace {

using Clock = std::chrono::steady_clock;
constexpr uint64_t kWriteBytes = 4096;

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }
double MiB(uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

uint64_t NumberIn(const char* file, const std::string& label) {
  std::ifstream in(file);
  for (std::string word; in >> word;) {
    uint64_t number = 0;
    if (word == label && in >> number) return number;
  }
  return 0;
}
uint64_t BytesWritten() { return NumberIn("/proc/self/io", "write_bytes:"); }
uint64_t ResidentBytes() { return NumberIn("/proc/self/status", "VmRSS:") * 1024; }

uint64_t DiskBytes(const std::filesystem::path& root) {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    struct stat st {};
    if (stat(entry.path().c_str(), &st) == 0) bytes += static_cast<uint64_t>(st.st_blocks) * 512;
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t writes = 1'000'000, set_mib = 256, files = 16;
  std::string retention = "10s", directory;
  CLI::App app("what retention costs");
  app.add_option("--writes", writes, "how many writes of 4 KiB");
  app.add_option("--set-mib", set_mib, "size of the set of files");
  app.add_option("--files", files, "how many files it is");
  app.add_option("--retention", retention, "as -o retention");
  app.add_option("--dir", directory, "where the data root is made (default: a new one in /tmp)");
  bool verbose = false, library = false;
  app.add_flag("--library", library, "without a mount");
  app.add_flag("--verbose", verbose, "log what is collected");
  CLI11_PARSE(app, argc, argv);
  if (directory.empty()) {
    char pattern[] = "/tmp/rewind-bench-XXXXXX";
    directory = mkdtemp(pattern);
  }
  rw::LimitArenas();  // as the daemon does
  if (verbose) spdlog::set_level(spdlog::level::debug);
  const std::filesystem::path root = std::filesystem::path(directory) / "root";
  const uint64_t range_ns = rw::ParseDuration("retention", retention);

  rw::StoreOptions options(root);
  options.defaults = {{"retention", retention}, {"keep", "none"}};
  options.collector.reserve_bytes = 0;
  auto store = rw::Store::Open(std::move(options));
  rw::CreateRequest request;
  request.name = "bench";
  store->Create(request);
  auto volume = store->OpenVolume("bench");
  std::vector<rw::Ino> inos;
  std::mt19937_64 random(1);
  std::string data(1 << 20, 'x');
  for (char& c : data) c = static_cast<char>(random());
  const uint64_t file_bytes = (set_mib << 20) / files;
  for (uint64_t i = 0; i < files; ++i) {
    inos.push_back(volume->Create({}, rw::kRootIno, "f" + std::to_string(i), S_IFREG | 0644).ino);
    for (uint64_t at = 0; at < file_bytes; at += data.size())
      volume->Write({}, inos.back(), at, {data.data(), std::min(data.size(), file_bytes - at)},
                    false);
  }
  volume->Sync();
  std::unique_ptr<rw::Session> session;
  std::vector<int> fds;
  if (!library) {
    rw::SessionOptions mounted;
    mounted.mountpoint = directory + "/mounted";
    mounted.source = "rewind:bench";
    std::filesystem::create_directories(mounted.mountpoint);
    session = rw::Session::Mount(volume, mounted);
    for (uint64_t i = 0; i < files; ++i)
      fds.push_back(
          open((mounted.mountpoint + "/f" + std::to_string(i)).c_str(), O_WRONLY | O_CLOEXEC));
  }

  struct Moment {
    Clock::time_point at;
    uint64_t writes;
  };
  std::deque<Moment> recent;
  double worst = 0, first_tenth = 0, last_tenth = 0;
  uint64_t worst_disk = 0, worst_promised = 0, worst_after = 0;
  const uint64_t written_before = BytesWritten();
  const auto began = Clock::now();
  auto tenth_began = began;
  std::printf("%8s %12s %10s %10s %12s %8s\n", "writes", "writes/s", "disk MiB", "over",
              "written/app", "RSS MiB");
  // The writer is a process of its own, so that what it writes itself is not counted.
  auto* done = static_cast<std::atomic<uint64_t>*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const auto write_all = [&] {
    for (uint64_t i = 0; i < writes; ++i, *done = i) {
      const size_t file = random() % inos.size();
      const auto offset = random() % (file_bytes / kWriteBytes) * kWriteBytes;
      const char* bytes = data.data() + random() % 4096;
      if (library) {
        volume->Write({}, inos[file], offset, {bytes, kWriteBytes}, false);
      } else if (pwrite(fds[file], bytes, kWriteBytes, static_cast<off_t>(offset)) !=
                 static_cast<ssize_t>(kWriteBytes)) {
        _exit(1);
      }
    }
  };
  std::thread thread;
  pid_t child = -1;
  if (library) {
    thread = std::thread(write_all);
  } else if (child = fork(); child == 0) {
    write_all();
    _exit(0);
  }
  uint64_t printed = 0;
  for (uint64_t now_done = 0; now_done < writes;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    now_done = *done;
    const auto now = Clock::now();
    recent.push_back({now, now_done});
    while (recent.size() > 1 && Seconds(now - recent[1].at) * 1e9 > static_cast<double>(range_ns))
      recent.pop_front();
    const uint64_t promised = (set_mib << 20) + (now_done - recent.front().writes) * kWriteBytes;
    const uint64_t disk = DiskBytes(root);
    const double over = static_cast<double>(disk) / static_cast<double>(promised) - 1;
    // Once the range is full.
    if (Seconds(now - began) * 1e9 > 1.1 * static_cast<double>(range_ns) && over > worst) {
      worst = over;
      worst_disk = disk;
      worst_promised = promised;
      worst_after = now_done;
    }
    if (now_done - printed < writes / 10 && now_done < writes) continue;
    const double rate = static_cast<double>(now_done - printed) / Seconds(now - tenth_began);
    if (first_tenth == 0) first_tenth = rate;
    last_tenth = rate;
    tenth_began = now;
    printed = now_done;
    std::printf("%8" PRIu64 " %12.0f %10.0f %9.0f%% %12.2f %8.0f\n", now_done, rate, MiB(disk),
                100 * over,
                static_cast<double>(BytesWritten() - written_before) /
                    static_cast<double>(now_done * kWriteBytes),
                MiB(ResidentBytes()));
    std::fflush(stdout);
  }
  const uint64_t written = BytesWritten() - written_before;  // before the writer's are added
  if (thread.joinable()) thread.join();
  if (child > 0) waitpid(child, nullptr, 0);
  volume->Sync();
  std::printf("last tenth / first tenth: %.2f\n", last_tenth / first_tenth);
  std::printf("most over live + promised: %.0f%% (%.0f MiB for %.0f MiB, after %" PRIu64
              " writes)\n",
              100 * worst, MiB(worst_disk), MiB(worst_promised), worst_after);
  std::printf("bytes written per application byte: %.2f\n",
              static_cast<double>(written) / static_cast<double>(writes * kWriteBytes));
  for (const int fd : fds) close(fd);
  session.reset();
  volume.reset();
  store.reset();
  std::filesystem::remove_all(root);
}
