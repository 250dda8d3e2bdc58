#include "plugin/client.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <nlohmann/json.hpp>
#include <vector>

#include "metadata/refused.h"
#include "plugin/settings.h"
#include "plugin/unix_client.h"

namespace rw {
namespace {

namespace stdfs = std::filesystem;

bool Listens(const stdfs::path& socket) {
  int fd = ConnectTo(socket);
  if (fd < 0) return false;
  close(fd);
  return true;
}

std::string Encode(const nlohmann::json& request) {
  try {
    return request.dump();
  } catch (const nlohmann::json::exception&) {
    throw Refused(EINVAL, "names and options must be UTF-8");
  }
}

}  // namespace

stdfs::path FindSocket(const std::string& given) {
  if (!given.empty()) return given;
  // A managed plugin's socket is in a directory named by the plugin's id.
  const stdfs::path directory = stdfs::path(kDefaultSocket).parent_path();
  std::error_code error;
  for (const stdfs::directory_entry& entry : stdfs::directory_iterator(directory, error)) {
    stdfs::path socket = entry.path() / stdfs::path(kDefaultSocket).filename();
    if (entry.is_directory(error) && Listens(socket)) return socket;
  }
  return kDefaultSocket;
}

void RefuseWithoutDaemon(const stdfs::path& socket, int error) {
  throw Refused(error, "no daemon answers on " + socket.string() + ": " + std::strerror(error) +
                           "; enable the plugin, run rewind serve, or name its socket with "
                           "--socket");
}

nlohmann::json ParseAnswer(const stdfs::path& socket, const std::string& body) {
  nlohmann::json answer = nlohmann::json::parse(body, nullptr, false);
  if (!answer.is_object() || !answer.contains("Err") || !answer["Err"].is_string()) {
    throw Refused(EPROTO, "what answers on " + socket.string() + " is not rewind");
  }
  std::string refusal = answer["Err"].get<std::string>();
  if (!refusal.empty()) throw Refused(EREMOTEIO, refusal);
  return answer;
}

nlohmann::json Ask(const stdfs::path& socket, const std::string& endpoint,
                   const nlohmann::json& request, int timeout_seconds) {
  UnixClient client(socket);
  client.set_read_timeout(timeout_seconds);
  httplib::Result result = client.Post("/" + endpoint, Encode(request), "application/json");
  if (!result && client.connect_error() != 0) RefuseWithoutDaemon(socket, client.connect_error());
  if (!result) throw Refused(EIO, "the daemon on " + socket.string() + " ended before it answered");
  return ParseAnswer(socket, result->body);
}

void AskForStream(const stdfs::path& socket, const std::string& endpoint,
                  const nlohmann::json& request,
                  const std::function<void(std::string_view)>& take) {
  UnixClient client(socket);
  client.set_read_timeout(kAnswerTimeoutSeconds);
  std::string refusal;
  std::exception_ptr thrown;
  bool is_stream = false;
  httplib::Request asked;
  asked.method = "POST";
  asked.path = "/" + endpoint;
  asked.body = Encode(request);
  asked.headers.emplace("Content-Type", "application/json");
  asked.response_handler = [&](const httplib::Response& response) {
    is_stream = response.has_header("Transfer-Encoding");
    return true;
  };
  asked.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
    if (!is_stream) {
      refusal.append(data, size);
      return true;
    }
    try {
      take({data, size});
      return true;
    } catch (...) {
      thrown = std::current_exception();
      return false;
    }
  };
  const httplib::Result result = client.send(asked);
  if (thrown) std::rethrow_exception(thrown);
  if (!result && client.connect_error() != 0) RefuseWithoutDaemon(socket, client.connect_error());
  if (!result)
    throw Refused(EIO, "the daemon on " + socket.string() + " ended before its answer did");
  if (!is_stream) ParseAnswer(socket, refusal);
}

}  // namespace rw
