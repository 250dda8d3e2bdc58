#include "plugin/server.h"

#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "metadata/quoted.h"
#include "metadata/refused.h"
#include "plugin/connections.h"
#include "plugin/endpoints.h"
#include "plugin/health.h"
#include "plugin/metrics.h"
#include "plugin/stream_endpoints.h"
#include "plugin/tree_stream.h"
#include "plugin/unix_socket.h"
#include "plugin/volumes.h"

namespace rw {
namespace {

constexpr char kContentType[] = "application/vnd.docker.plugins.v1.2+json";
// Far more than a name and options need.
constexpr size_t kMaxBodyBytes = 1 << 20;
// Of one answer, from its first byte on, to a client that does not take it. Most take it before it
// is all written.
constexpr std::chrono::seconds kWritePatience{10};
// Of a stream, for its next piece: what is at its other end may be a person.
constexpr std::chrono::minutes kStreamPatience{10};
// Each has a thread for as long as it lasts.
constexpr int kMaxStreams = 16;
constexpr char kImportLine[] = "POST /Rewind.Import HTTP/1.1\r\n";
constexpr char kExportLine[] = "POST /Rewind.Export HTTP/1.1\r\n";

bool IsImport(std::string_view request) { return request.starts_with(kImportLine); }
bool IsStream(std::string_view request) {
  return IsImport(request) || request.starts_with(kExportLine);
}

// The library's way to a request that is all there, or at least its head, and back to who asked.
class RequestStream : public httplib::Stream {
 public:
  RequestStream(int fd, std::string request, const std::atomic<bool>* streams_end)
      : fd_(fd),
        request_(std::move(request)),
        is_stream_(IsStream(request_)),
        goes_on_(IsImport(request_)),
        streams_end_(streams_end) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* to, size_t size) override {
    if (read_ == request_.size() && goes_on_ && !Receive()) return -1;
    const size_t taken = request_.copy(to, size, read_);
    read_ += taken;
    return static_cast<ssize_t>(taken);
  }
  ssize_t write(const char* from, size_t size) override {
    // How long it took until there was an answer does not count.
    if (is_stream_ || !answering_) Wait(is_stream_ ? kStreamPatience : kWritePatience);
    answering_ = true;
    for (size_t written = 0; written < size;) {
      if (!WaitFor(POLLOUT)) return -1;
      const ssize_t count = send(fd_, from + written, size - written, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && errno != EAGAIN && errno != EINTR) return -1;
      if (count > 0) written += static_cast<size_t>(count);
      if (count > 0 && is_stream_) Wait(kStreamPatience);
    }
    return static_cast<ssize_t>(size);
  }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return fd_; }

 private:
  void Wait(std::chrono::seconds patience) { until_ = std::chrono::steady_clock::now() + patience; }

  // False if it takes too long, or streams are to end.
  bool WaitFor(short event) const {
    constexpr std::chrono::milliseconds kGlance{100};
    for (;;) {
      if (is_stream_ && *streams_end_) return false;
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(until_ - std::chrono::steady_clock::now());
      if (left.count() <= 0) return false;
      pollfd waiting{fd_, event, 0};
      const auto wait = is_stream_ ? std::min(left, kGlance) : left;
      const int ready = poll(&waiting, 1, static_cast<int>(wait.count()));
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
      if (ready == 0 && !is_stream_) return false;
    }
  }

  bool Receive() {
    request_.resize(kReceiveBytes);
    read_ = 0;
    Wait(kStreamPatience);
    ssize_t count = -1;
    do {
      if (!WaitFor(POLLIN)) break;
      count = recv(fd_, request_.data(), request_.size(), MSG_DONTWAIT);
    } while (count < 0 && (errno == EAGAIN || errno == EINTR));
    request_.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return count > 0;
  }

  static constexpr size_t kReceiveBytes = 256 << 10;

  const int fd_;
  std::string request_;
  size_t read_ = 0;
  const bool is_stream_, goes_on_;
  const std::atomic<bool>* const streams_end_;
  bool answering_ = false;
  std::chrono::steady_clock::time_point until_;
};

// What is answered in the same words whatever the state of the volumes, and so at once.
bool IsConstant(const std::string& request) {
  const std::string_view line = std::string_view(request).substr(0, request.find('\r'));
  return line == "POST /Plugin.Activate HTTP/1.1" ||
         line == "POST /VolumeDriver.Capabilities HTTP/1.1";
}

void Reply(httplib::Response& response, int status, const std::string& body) {
  response.status = status;
  response.set_content(body, kContentType);
}

bool HasBody(const httplib::Request& request) {
  return request.has_header("Content-Length") || request.has_header("Transfer-Encoding");
}

}  // namespace

// The library makes listening sockets with a backlog of 5, with everybody's permissions and, before
// 0.12, for TCP only; so this one brings its own. The library's threads wait for slow clients, all
// of them if there are as many; so connections come to a thread only with their requests.
class Server::HttpServer : public httplib::Server {
 public:
  explicit HttpServer(int fd) {
    svr_sock_ = fd;
    new_task_queue = [this] { return new Queue(this); };
  }

  void EndStreams() { streams_end_ = true; }
  // A place among the streams, for as long as it lives. Throws Refused(EBUSY).
  std::shared_ptr<void> TakePlace() {
    if (++streams_ > kMaxStreams) {
      --streams_;
      throw Refused(EBUSY, "too many exports and imports are under way; wait until one is done");
    }
    return {this, [](HttpServer* server) { --server->streams_; }};
  }

 private:
  // The library's loop, which accepts connections, lends its thread for an instant.
  class Queue : public httplib::TaskQueue {
   public:
    explicit Queue(HttpServer* server)
        : server_(server),
          connections_(
              [server](int fd, const std::string& request) { server->Answer(fd, request); },
              Options()) {
      server_->connections_ = &connections_;
    }
    void enqueue(std::function<void()> accepted) override { accepted(); }
    void shutdown() override { connections_.Stop(); }

   private:
    static ConnectionsOptions Options() {
      ConnectionsOptions options;
      options.max_body_bytes = kMaxBodyBytes;
      options.at_once = IsConstant;
      options.is_streamed = IsImport;
      return options;
    }

    HttpServer* server_;
    Connections connections_;
  };

  bool process_and_close_socket(socket_t fd) override {
    connections_->Add(fd);
    return true;
  }

  void Answer(int fd, const std::string& request) {
    RequestStream stream(fd, request, &streams_end_);
    bool closed = false;
    process_request(stream, true, closed, nullptr);
  }

  Connections* connections_ = nullptr;
  std::atomic<bool> streams_end_{false};
  std::atomic<int> streams_{0};
};

Server::Server(const std::filesystem::path& socket) : Server(ListenOn(socket), socket) {}

Server::Server(int listening) : Server(listening, {}) {}

Server::Server(int listening, std::filesystem::path socket) : socket_(std::move(socket)) {
  http_ = std::make_unique<HttpServer>(listening);
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
  // Before all others: its body is no JSON.
  http_->Post("/Rewind.Import", [this](const httplib::Request& request, httplib::Response& response,
                                       const httplib::ContentReader& read) {
    const std::string answered = AnswerImport(
        request.get_header_value(kImportRequestHeader), [this] { return http_->TakePlace(); },
        [this]() -> Volumes& { return WaitForVolumes(); },
        [&read](const std::function<bool(std::string_view)>& take) {
          return read([&](const char* data, size_t size) { return take({data, size}); });
        });
    Reply(response, 200, answered);
  });
  // With a reader, because the library takes bodies of the type that curl gives them for forms.
  http_->Post(R"(/[A-Za-z.]{1,64})",
              [this, answer](const httplib::Request& request, httplib::Response& response,
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
                if (request.path == "/Rewind.Export") {
                  StartExport(body, response);
                } else {
                  answer(request.path, body, response);
                }
              });
  http_->Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
    response.set_content(MetricsText(WaitForVolumes()), kMetricsContentType);
  });
  http_->Get("/health", [this](const httplib::Request&, httplib::Response& response) {
    Volumes* known = volumes();
    const nlohmann::json health = known == nullptr ? HealthWhileOpening() : HealthOf(*known);
    response.status = HttpStatusOf(health);
    response.set_content(health.dump() + "\n", "application/json");
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
  thread_ = std::thread([this] {
    http_->listen_after_bind();
    ended_ = true;
  });
}

void Server::StartExport(const std::string& body, httplib::Response& response) {
  response.status = 200;
  std::shared_ptr<void> place;
  std::shared_ptr<ExportStream> stream;
  const std::string refusal = Guarded("Rewind.Export", [&] {
    place = http_->TakePlace();
    stream = std::make_shared<ExportStream>(WaitForVolumes(), body);
  });
  if (!refusal.empty()) {
    Reply(response, 200, refusal);
    return;
  }
  response.set_chunked_content_provider(
      kTreeContentType, [place, stream](size_t, httplib::DataSink& sink) {
        const bool taken = stream->Send(
            [&sink](std::string_view bytes) { return sink.write(bytes.data(), bytes.size()); });
        if (taken) sink.done();
        return taken;
      });
}

Server::~Server() { Stop(); }

Volumes& Server::WaitForVolumes() {
  std::unique_lock lock(mutex_);
  is_ready_.wait(lock, [this] { return volumes_ != nullptr; });
  return *volumes_;
}

Volumes* Server::volumes() {
  const std::lock_guard lock(mutex_);
  return volumes_;
}

void Server::Ready(Volumes& volumes) {
  std::lock_guard lock(mutex_);
  volumes_ = &volumes;
  is_ready_.notify_all();
}

void Server::Stop() {
  if (!thread_.joinable()) return;
  RemoveSocket();
  http_->EndStreams();
  // Stopping does nothing before the thread runs. It may have ended by itself.
  while (!http_->is_running() && !ended_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  http_->stop();
  thread_.join();
}

void Server::RemoveSocket() {
  std::error_code ignored;
  if (!socket_.empty()) std::filesystem::remove(socket_, ignored);
}

}  // namespace rw
