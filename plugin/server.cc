#include "plugin/server.h"

#include <httplib.h>

#include <chrono>
#include <optional>
#include <utility>

#include "metadata/quoted.h"
#include "plugin/endpoints.h"
#include "plugin/metrics.h"
#include "plugin/unix_socket.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

constexpr char kContentType[] = "application/vnd.docker.plugins.v1.2+json";
// Far more than a name and options need.
constexpr size_t kMaxBodyBytes = 1 << 20;
// Requests may wait: for the recovery, for a slow mount. The others must find a thread all the
// same.
constexpr size_t kThreads = 64;

void Reply(httplib::Response& response, int status, const std::string& body) {
  response.status = status;
  response.set_content(body, kContentType);
}

bool HasBody(const httplib::Request& request) {
  return request.has_header("Content-Length") || request.has_header("Transfer-Encoding");
}

}  // namespace

// The library makes listening sockets with a backlog of 5, with everybody's permissions and, before
// 0.12, for TCP only; so this one brings its own.
class Server::HttpServer : public httplib::Server {
 public:
  explicit HttpServer(int fd) { svr_sock_ = fd; }
};

Server::Server(const std::filesystem::path& socket) : Server(ListenOn(socket), socket) {}

Server::Server(int listening) : Server(listening, {}) {}

Server::Server(int listening, std::filesystem::path socket) : socket_(std::move(socket)) {
  http_ = std::make_unique<HttpServer>(listening);
  http_->new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  http_->set_payload_max_length(kMaxBodyBytes);
  // Answers `Connection: close`: no connection is ever closed between two requests of the engine's.
  http_->set_keep_alive_max_count(1);

  auto answer = [this](const std::string& path, const std::string& body,
                       httplib::Response& response) {
    std::optional<std::string> text =
        Answer(path.substr(1), body, [this]() -> Volumes& { return WaitForVolumes(); });
    if (text) Reply(response, 200, *text);
  };
  // A request that announces no body has none. The library's 0.11 would wait for one until the
  // connection closes.
  http_->set_pre_routing_handler(
      [answer](const httplib::Request& request, httplib::Response& response) {
        if (request.method != "POST" || HasBody(request)) {
          return httplib::Server::HandlerResponse::Unhandled;
        }
        response.status = 404;
        answer(request.path, "", response);
        return httplib::Server::HandlerResponse::Handled;
      });
  // With a reader, because the library takes bodies of the type that curl gives them for forms.
  http_->Post(R"(/[A-Za-z.]{1,64})",
              [answer](const httplib::Request& request, httplib::Response& response,
                       const httplib::ContentReader& read) {
                std::string body;
                bool too_large = false;
                bool complete = read([&](const char* data, size_t size) {
                  too_large = body.size() + size > kMaxBodyBytes;
                  if (too_large) return false;
                  body.append(data, size);
                  return true;
                });
                if (!complete) {
                  // The library itself refuses what is announced as too large.
                  too_large = too_large || response.status == 413;
                  Reply(response, too_large ? 413 : 400,
                        ErrorAnswer(too_large ? "the request's body is larger than 1 MiB"
                                              : "the request's body could not be read"));
                  return;
                }
                response.status = 404;
                answer(request.path, body, response);
              });
  http_->Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
    response.set_content(MetricsText(WaitForVolumes()), kMetricsContentType);
  });
  http_->set_error_handler([](const httplib::Request& request, httplib::Response& response) {
    if (!response.body.empty()) return;
    std::string why = response.status == 404
                          ? "no such endpoint: " + Quoted(request.method + " " + request.path)
                      : response.status == 413 ? "the request's body is larger than 1 MiB"
                                               : "the request is not one that is understood";
    response.set_content(ErrorAnswer(why), kContentType);
  });
  // On this thread, after the answer is written or cannot be.
  http_->set_logger([this](const httplib::Request&, const httplib::Response&) {
    std::unique_lock lock(mutex_);
    Volumes* volumes = volumes_;
    lock.unlock();
    if (volumes != nullptr) volumes->Answered();
  });
  thread_ = std::thread([this] { http_->listen_after_bind(); });
}

Server::~Server() { Stop(); }

Volumes& Server::WaitForVolumes() {
  std::unique_lock lock(mutex_);
  is_ready_.wait(lock, [this] { return volumes_ != nullptr; });
  return *volumes_;
}

void Server::Ready(Volumes& volumes) {
  std::lock_guard lock(mutex_);
  volumes_ = &volumes;
  is_ready_.notify_all();
}

void Server::Stop() {
  if (!thread_.joinable()) return;
  RemoveSocket();
  // Stopping does nothing before the thread runs.
  while (!http_->is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  http_->stop();
  thread_.join();
}

void Server::RemoveSocket() {
  std::error_code ignored;
  if (!socket_.empty()) std::filesystem::remove(socket_, ignored);
}

}  // namespace rw
