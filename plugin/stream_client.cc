#include "plugin/stream_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/unix_socket.h"

namespace rw {

StreamRequest::StreamRequest(const std::filesystem::path& socket, const std::string& endpoint,
                             const std::string& header)
    : socket_(socket), fd_(ConnectTo(socket)) {
  if (fd_ < 0) RefuseWithoutDaemon(socket, errno);
  try {
    SendAll("POST /" + endpoint + " HTTP/1.1\r\nHost: localhost\r\n" + header +
            "\r\nTransfer-Encoding: chunked\r\n\r\n");
  } catch (const AnsweredEarly&) {
    // The answer says why.
  }
}

StreamRequest::~StreamRequest() { close(fd_); }

void StreamRequest::SendAll(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw AnsweredEarly();
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void StreamRequest::Send(std::string_view piece) {
  if (piece.empty()) return;  // would be the end
  char head[32];
  std::snprintf(head, sizeof head, "%zx\r\n", piece.size());
  SendAll(head);
  SendAll(piece);
  SendAll("\r\n");
}

void StreamRequest::End() { SendAll("0\r\n\r\n"); }

nlohmann::json StreamRequest::Answer() {
  std::string answer;
  char buffer[16 << 10];
  for (;;) {
    pollfd waiting{fd_, POLLIN, 0};
    if (poll(&waiting, 1, kAnswerTimeoutSeconds * 1000) == 0) break;
    const ssize_t count = recv(fd_, buffer, sizeof buffer, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    answer.append(buffer, static_cast<size_t>(count));
  }
  const size_t head = answer.find("\r\n\r\n");
  if (head == std::string::npos)
    throw Refused(EIO, "the daemon on " + socket_.string() + " ended before it answered");
  return ParseAnswer(socket_, answer.substr(head + 4));
}

}  // namespace rw
