// httplib's client over a Unix socket, which Debian 12's version cannot do by itself.
#pragma once

#include <httplib.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "plugin/unix_socket.h"

namespace rw {

// Not thread-safe, but for stop().
class UnixClient : public httplib::ClientImpl {
 public:
  explicit UnixClient(std::filesystem::path socket, int connect_timeout_seconds = 0)
      : httplib::ClientImpl("localhost", 80),
        path_(std::move(socket)),
        connect_timeout_seconds_(connect_timeout_seconds) {}
  int connect_error() const { return connect_error_; }  // errno; 0 if it did not fail

 private:
  bool create_and_connect_socket(Socket& socket, httplib::Error& error) override {
    int fd = ConnectTo(path_, connect_timeout_seconds_);
    if (fd < 0) {
      connect_error_ = errno;
      error = httplib::Error::Connection;
      return false;
    }
    socket.sock = fd;
    return true;
  }

  const std::filesystem::path path_;
  const int connect_timeout_seconds_;
  int connect_error_ = 0;
};

}  // namespace rw
