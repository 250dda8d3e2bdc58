// What operations on names cost, in loops that do nothing else.
//
//   name_loops create|stat|list|open|unlink DIRECTORY FILES
//
// FILES files of 4 KiB lie in 100 directories below DIRECTORY. `create` makes directories and
// files, `unlink` removes both; `stat` asks for the attributes of each file; `list` reads each
// directory and asks for the attributes of what it names; `open` opens, reads and closes each file.
// Prints files per second.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {

constexpr long kDirectories = 100;
std::array<char, 4096> block;

[[noreturn]] void Fail(const std::string& path) {
  std::fprintf(stderr, "name_loops: %s: %s\n", path.c_str(), std::strerror(errno));
  std::exit(1);
}

void Check(bool done, const std::string& path) {
  if (!done) Fail(path);
}

void Create(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
  Check(fd >= 0 && write(fd, block.data(), block.size()) == static_cast<ssize_t>(block.size()),
        path);
  close(fd);
}

void Stat(const std::string& path) {
  struct stat st;
  Check(stat(path.c_str(), &st) == 0, path);
}

void Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY);
  Check(fd >= 0 && read(fd, block.data(), block.size()) == static_cast<ssize_t>(block.size()),
        path);
  close(fd);
}

void Unlink(const std::string& path) { Check(unlink(path.c_str()) == 0, path); }

long List(const std::string& path) {
  DIR* const directory = opendir(path.c_str());
  Check(directory != nullptr, path);
  long count = 0;
  while (const dirent* entry = readdir(directory)) {
    struct stat st;
    if (entry->d_name[0] == '.') continue;
    Check(fstatat(dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0, path);
    ++count;
  }
  closedir(directory);
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc == 4 ? argv[1] : "";
  const auto operation = what == "create"   ? Create
                         : what == "stat"   ? Stat
                         : what == "open"   ? Open
                         : what == "unlink" ? Unlink
                                            : nullptr;
  if (operation == nullptr && what != "list") {
    std::fprintf(stderr, "usage: %s create|stat|list|open|unlink DIRECTORY FILES\n", argv[0]);
    return 2;
  }
  const std::string base = argv[2];
  const long files = std::atol(argv[3]);
  const auto directory = [&](long number) { return base + "/d" + std::to_string(number); };
  using std::chrono::steady_clock;
  const auto began = steady_clock::now();
  long done = 0;
  for (long d = 0; d < kDirectories; ++d) {
    const std::string path = directory(d);
    if (what == "create") Check(mkdir(path.c_str(), 0755) == 0, path);
    if (operation == nullptr) {
      done += List(path);
    } else {
      for (; done < files * (d + 1) / kDirectories; ++done)
        operation(path + "/file" + std::to_string(done));
    }
    if (what == "unlink") Check(rmdir(path.c_str()) == 0, path);
  }
  const std::chrono::duration<double> spent = steady_clock::now() - began;
  std::printf("%.1f\n", static_cast<double>(done) / spent.count());
  return 0;
}
