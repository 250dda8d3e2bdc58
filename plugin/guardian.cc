#include "plugin/guardian.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "metadata/refused.h"

namespace rw {
namespace {

using Json = nlohmann::json;

void WriteAll(int fd, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = write(fd, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return;  // the guardian is gone; this process goes on without it
    done += static_cast<size_t>(count);
  }
}

// Until the other end is closed.
std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t count = read(fd, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(buffer, static_cast<size_t>(count));
  }
}

// The last whole line; null if it says that all is done, or there is none.
Json LastNoted(const std::string& text) {
  const size_t end = text.rfind('\n');
  if (end == std::string::npos || end == 0) return nullptr;
  const size_t begin = text.rfind('\n', end - 1);
  const size_t from = begin == std::string::npos ? 0 : begin + 1;
  return Json::parse(text.substr(from, end - from), nullptr, false);
}

}  // namespace

Guardian::Guardian(const std::function<void(const Json& noted)>& take_over) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    throw Refused(errno, std::string("cannot start a guardian: ") + std::strerror(errno));
  std::cout.flush();
  process_ = fork();
  if (process_ < 0) {
    const int error = errno;
    close(ends[0]);
    close(ends[1]);
    throw Refused(error, std::string("cannot start a guardian: ") + std::strerror(error));
  }
  if (process_ > 0) {
    close(ends[0]);
    fd_ = ends[1];
    signal(SIGPIPE, SIG_IGN);
    return;
  }
  setsid();
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) signal(number, SIG_IGN);
  close(ends[1]);
  int exit_code = 0;
  try {
    const Json noted = LastNoted(ReadAll(ends[0]));
    if (noted.is_object()) take_over(noted);
  } catch (const std::exception& error) {
    std::cerr << "rewind: " << error.what() << std::endl;
    exit_code = 1;
  }
  std::cout.flush();
  _exit(exit_code);
}

Guardian::~Guardian() { End(); }

void Guardian::Note(const Json& state) {
  if (fd_ >= 0) WriteAll(fd_, state.dump() + "\n");
}

void Guardian::End() {
  if (fd_ < 0) return;
  WriteAll(fd_, "null\n");
  close(fd_);
  fd_ = -1;
  while (waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace rw
