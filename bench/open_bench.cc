// How long a volume with a long history takes to open after its daemon was killed.
//
//   open_bench DIRECTORY WRITES [BYTES]
//
// A child makes a volume in DIRECTORY (absent or empty; it stays), writes BYTES (128) at random
// places of one file so many times, and ends without a word to the store. Then the store is opened.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "fs/store.h"
#include "fs/volume.h"

namespace {

constexpr uint64_t kFileBytes = 256 << 20;

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

[[noreturn]] void WriteAndEnd(const std::string& root, uint64_t writes, uint64_t bytes) {
  auto store = rw::Store::Open({root});
  rw::CreateRequest request;
  request.name = "volume";
  store->Create(request);
  const auto volume = store->OpenVolume("volume");
  const rw::Ino ino = volume->Create({}, rw::kRootIno, "file", S_IFREG | 0644).ino;
  std::mt19937_64 random(1);
  const std::string data(bytes, 'x');
  for (uint64_t i = 0; i < writes; ++i)
    volume->Write({}, ino, random() % (kFileBytes / bytes) * bytes, data, false);
  _exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s DIRECTORY WRITES [BYTES]\n", argv[0]);
    return 2;
  }
  const std::string root = argv[1];
  const uint64_t writes = std::strtoull(argv[2], nullptr, 10);
  const uint64_t bytes = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 128;
  const double began = Seconds();
  const pid_t child = fork();
  if (child == 0) WriteAndEnd(root, writes, bytes);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 1;
  const double written = Seconds();
  auto store = rw::Store::Open({root});
  const double opened = Seconds();
  auto volume = store->OpenVolume("volume");
  const double mounted = Seconds();
  std::printf("%lu writes of %lu bytes in %.0f s; store opened in %.2f s, volume in %.3f s\n",
              writes, bytes, written - began, opened - written, mounted - opened);
  volume.reset();
  return 0;
}
