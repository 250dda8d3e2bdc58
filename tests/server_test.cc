// Goal: Docker's protocol as the engine really speaks it, and every bad input answered with one
// line that changes nothing. Method: the real binary behind its real socket; requests written byte
// by byte where the engine's habits matter.
#include "plugin/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <thread>

#include "fs/store.h"
#include "metadata/refused.h"
#include "plugin/client.h"
#include "plugin/endpoints.h"
#include "plugin/options.h"
#include "plugin/patience.h"
#include "plugin/unix_socket.h"
#include "plugin/volumes.h"
#include "tests/support/daemon_process.h"

namespace rw {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;
namespace stdfs = std::filesystem;

// One daemon for all tests of the suite: they use volumes of different names.
class ServerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { daemon_ = new testing::DaemonProcess; }
  static void TearDownTestSuite() {
    delete daemon_;
    daemon_ = nullptr;
  }

  static Json Post(const std::string& endpoint, const Json& request) {
    return daemon_->Post(endpoint, request);
  }
  static void Create(const std::string& name, const Json& options = nullptr) {
    Json answer = Post("VolumeDriver.Create", {{"Name", name}, {"Opts", options}});
    ASSERT_EQ(answer, (Json{{"Err", ""}})) << name;
  }
  static std::string Now(const std::string& name) {
    return Post("Rewind.Now", {{"Name", name}})["Instant"];
  }
  static std::string Err(const Json& answer) { return answer["Err"]; }

  static testing::DaemonProcess* daemon_;
};
testing::DaemonProcess* ServerTest::daemon_ = nullptr;

std::string BodyOf(const std::string& exchange) {
  size_t head_end = exchange.find("\r\n\r\n");
  return head_end == std::string::npos ? "" : exchange.substr(head_end + 4);
}

TEST_F(ServerTest, ActivateHasAnEmptyBody) {
  for (const char* length : {"Content-Length: 0\r\n", ""}) {
    std::string answer =
        daemon_->Exchange(std::string("POST /Plugin.Activate HTTP/1.1\r\nHost: x\r\nAccept: "
                                      "application/vnd.docker.plugins.v1.2+json\r\n") +
                          length + "\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
    EXPECT_THAT(answer, HasSubstr("Content-Type: application/vnd.docker.plugins.v1.2+json\r\n"));
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
    EXPECT_EQ(Json::parse(BodyOf(answer))["Implements"], Json::array({"VolumeDriver"}));
  }
}

TEST_F(ServerTest, BodiesMayComeInChunksAndInPieces) {
  Create("chunked");
  EXPECT_THAT(daemon_->Exchange("POST /VolumeDriver.Get HTTP/1.1\r\nHost: x\r\n"
                                "Transfer-Encoding: chunked\r\n\r\n"
                                "8\r\n{\"Name\":\r\na\r\n\"chunked\"}\r\n0\r\n\r\n"),
              HasSubstr("\"Err\":\"\""));
}

TEST_F(ServerTest, CapabilitiesAreLocal) {
  Json answer = Post("VolumeDriver.Capabilities", Json::object());
  EXPECT_EQ(answer["Capabilities"], (Json{{"Scope", "local"}}));
}

TEST_F(ServerTest, MetricsAreThereForScrapersAndForTheCommand) {
  Create("measured");
  const std::string answer = daemon_->Exchange("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(answer, HasSubstr("rewind_volume_pressure{volume=\"measured\"} 0\n"));
  const std::string text = Post("Rewind.Metrics", Json::object())["Text"];
  EXPECT_THAT(text, HasSubstr("rewind_volume_live_bytes{volume=\"measured\"} 0\n"));
}

TEST_F(ServerTest, AVolumesLifeAsDockerDrivesIt) {
  EXPECT_THAT(Err(Post("VolumeDriver.Get", {{"Name", "life"}})), HasSubstr("no such volume"));
  Create("life");
  Create("life");
  Json get = Post("VolumeDriver.Get", {{"Name", "life"}});
  EXPECT_EQ(get["Err"], "");
  EXPECT_EQ(get["Volume"]["Name"], "life");
  EXPECT_EQ(get["Volume"]["Mountpoint"], "");
  EXPECT_THAT(get["Volume"]["CreatedAt"].get<std::string>(), ::testing::EndsWith("Z"));
  for (const char* key : {"role", "history_from", "history_to", "history_size", "mounted_by"}) {
    EXPECT_TRUE(get["Volume"]["Status"].contains(key)) << key;
  }
  Json mount = Post("VolumeDriver.Mount", {{"Name", "life"}, {"ID", "c1"}});
  EXPECT_EQ(mount["Err"], "");
  std::string mountpoint = mount["Mountpoint"];
  EXPECT_TRUE(testing::IsMounted(mountpoint));
  EXPECT_EQ(Post("VolumeDriver.Path", {{"Name", "life"}})["Mountpoint"], mountpoint);
  get = Post("VolumeDriver.Get", {{"Name", "life"}});
  EXPECT_EQ(get["Volume"]["Mountpoint"], mountpoint);
  EXPECT_EQ(get["Volume"]["Status"]["mounted_by"], Json::array({"c1"}));
  bool listed = false;
  Json list = Post("VolumeDriver.List", Json::object());
  for (const Json& volume : list["Volumes"]) {
    if (volume["Name"] == "life") listed = volume["Mountpoint"] == mountpoint;
  }
  EXPECT_TRUE(listed);
  EXPECT_THAT(Err(Post("VolumeDriver.Remove", {{"Name", "life"}})), HasSubstr("mounted by"));
  EXPECT_EQ(Err(Post("VolumeDriver.Unmount", {{"Name", "life"}, {"ID", "unknown"}})), "");
  EXPECT_EQ(Err(Post("VolumeDriver.Unmount", {{"Name", "life"}, {"ID", "c1"}})), "");
  EXPECT_FALSE(testing::IsMounted(mountpoint));
  EXPECT_EQ(Err(Post("VolumeDriver.Remove", {{"Name", "life"}})), "");
  EXPECT_THAT(Err(Post("VolumeDriver.Path", {{"Name", "life"}})), HasSubstr("no such volume"));
}

TEST_F(ServerTest, SnapshotCloneAndRollbackShowWhereTheyComeFrom) {
  Create("origin");
  stdfs::path mountpoint =
      Post("VolumeDriver.Mount", {{"Name", "origin"}, {"ID", "c"}})["Mountpoint"]
          .get<std::string>();
  std::ofstream(mountpoint / "row") << "before";
  std::string at = Now("origin");
  std::ofstream(mountpoint / "row") << "after";
  Post("VolumeDriver.Unmount", {{"Name", "origin"}, {"ID", "c"}});
  Create("origin-shot", {{"snapshot-of", "origin"}, {"at", at}});
  Create("origin-clone", {{"clone-of", "origin"}, {"at", at}});
  Create("origin-before", {{"rollback", "origin"}, {"at", at}});

  auto content = [&](const std::string& name) {
    stdfs::path path =
        Post("VolumeDriver.Mount", {{"Name", name}, {"ID", "r"}})["Mountpoint"].get<std::string>();
    std::ifstream file(path / "row");
    std::string text(std::istreambuf_iterator<char>(file), {});
    file.close();
    Post("VolumeDriver.Unmount", {{"Name", name}, {"ID", "r"}});
    return text;
  };
  EXPECT_EQ(content("origin-shot"), "before");
  EXPECT_EQ(content("origin-clone"), "before");
  EXPECT_EQ(content("origin"), "before");
  EXPECT_EQ(content("origin-before"), "after");

  auto status = [&](const char* name) {
    return Post("VolumeDriver.Get", {{"Name", name}})["Volume"]["Status"];
  };
  EXPECT_EQ(status("origin-shot")["role"], "snapshot");
  EXPECT_EQ(status("origin-shot")["source"], "origin");
  EXPECT_EQ(status("origin-shot")["shows"], at);
  EXPECT_EQ(status("origin-clone")["role"], "clone");
  EXPECT_EQ(status("origin-clone")["source_at"], at);
  EXPECT_EQ(status("origin")["rolled_back_to"], at);
  EXPECT_EQ(status("origin-before")["source"], "origin");
}

struct BadRequest {
  const char* endpoint;
  std::string body;
  const char* why;
};

std::string CreateBody(const std::string& name, const Json& options) {
  return Json{{"Name", name}, {"Opts", options}}.dump();
}

TEST_F(ServerTest, BadInputGetsOneLineAndChangesNothing) {
  Create("bad-source");
  Create("bad-other");
  Create("bad-shot", {{"snapshot-of", "bad-source"}});
  Create("bad-held");
  std::string now = Now("bad-held");
  ASSERT_EQ(Err(Post("VolumeDriver.Mount", {{"Name", "bad-held"}, {"ID", "holder7"}})), "");
  std::string first =
      Post("VolumeDriver.Get", {{"Name", "bad-source"}})["Volume"]["Status"]["history_from"];
  const BadRequest requests[] = {
      {"VolumeDriver.Create", CreateBody("x", {{"colour", "red"}}), "unknown option \"colour\""},
      {"VolumeDriver.Create", CreateBody("x", {{"colour", "red"}}), "snapshot-of=VOLUME"},
      {"VolumeDriver.Create",
       CreateBody("x", {{"snapshot-of", "bad-source"}, {"clone-of", "bad-source"}}),
       "at most one of"},
      {"VolumeDriver.Create",
       CreateBody("x", {{"rollback", "bad-source"}, {"clone-of", "bad-other"}, {"at", "now"}}),
       "at most one of"},
      {"VolumeDriver.Create", CreateBody("x", {{"at", "10m"}}), "at needs one of"},
      {"VolumeDriver.Create", CreateBody("x", {{"rollback", "bad-source"}}), "rollback needs at"},
      {"VolumeDriver.Create", CreateBody("x", {{"clone-of", "nobody"}}), "nobody"},
      {"VolumeDriver.Create", CreateBody("x", {{"snapshot-of", "../bad-source"}}), "bad-source"},
      {"VolumeDriver.Create", CreateBody("x", {{"clone-of", "bad-source"}, {"at", "1000d"}}),
       first.c_str()},
      {"VolumeDriver.Create",
       CreateBody("x", {{"clone-of", "bad-source"}, {"at", "1960-01-01T00:00:00Z"}}),
       first.c_str()},
      {"VolumeDriver.Create",
       CreateBody("x", {{"clone-of", "bad-source"}, {"at", "2200-01-01T00:00:00Z"}}), "future"},
      {"VolumeDriver.Create", CreateBody("x", {{"clone-of", "bad-source"}, {"at", "teatime"}}),
       "not a time"},
      {"VolumeDriver.Create",
       CreateBody("x", {{"clone-of", "bad-source"}, {"at", "2026-11-22T17:31:00"}}), "no zone"},
      {"VolumeDriver.Create", CreateBody("x", {{"rollback", "bad-shot"}, {"at", "now"}}),
       "bad-shot"},
      {"VolumeDriver.Create", CreateBody("x", {{"rollback", "bad-held"}, {"at", now}}), "holder7"},
      {"VolumeDriver.Create", CreateBody("bad-other", {{"uid", "5"}}), "bad-other"},
      {"VolumeDriver.Create", CreateBody("x", {{"help", ""}}), "clone-of=VOLUME"},
      {"VolumeDriver.Create", CreateBody("x", {{"uid", ""}}), "needs a value"},
      {"VolumeDriver.Create", CreateBody("a/b", nullptr), "contains a /"},
      {"VolumeDriver.Create", CreateBody("..", nullptr), "volume name"},
      {"VolumeDriver.Create", CreateBody("", nullptr), "it is empty"},
      {"VolumeDriver.Create", CreateBody("a\nb", nullptr), "control character"},
      {"VolumeDriver.Create", CreateBody(std::string("a\0b", 3), nullptr), "control character"},
      {"VolumeDriver.Create", CreateBody(std::string(256, 'n'), nullptr), "255 bytes"},
      {"VolumeDriver.Create", CreateBody(std::string(10'000, 'n'), nullptr), "255 bytes"},
      {"VolumeDriver.Create", R"({"Name":"x","Opts":{"uid":5}})", "is not a string"},
      {"VolumeDriver.Create", R"({"Name":"x","Opts":[]})", "not a JSON object"},
      {"VolumeDriver.Create", R"({"Name":7})", "needs a string \"Name\""},
      {"VolumeDriver.Create", R"({})", "needs a string \"Name\""},
      {"VolumeDriver.Create", "", "empty body"},
      {"VolumeDriver.Create", "{\"Name\":", "not well-formed JSON"},
      {"VolumeDriver.Create", "[]", "not a JSON object"},
      {"VolumeDriver.Create", "\"x\"", "not a JSON object"},
      {"VolumeDriver.Create", "{\"Name\":\"\xff\"}", "not well-formed JSON"},
      {"VolumeDriver.Create", std::string(100'000, '['), "not well-formed JSON"},
      {"VolumeDriver.Remove", "", "empty body"},
      {"VolumeDriver.Remove", R"({"Name":"nobody"})", "nobody"},
      {"VolumeDriver.Remove", R"({"Name":"bad-held"})", "holder7"},
      {"VolumeDriver.Mount", "", "empty body"},
      {"VolumeDriver.Mount", R"({"Name":"nobody","ID":"c"})", "no such volume"},
      {"VolumeDriver.Mount", R"({"Name":"bad-other"})", "needs a string \"ID\""},
      {"VolumeDriver.Unmount", "", "empty body"},
      {"VolumeDriver.Path", "", "empty body"},
      {"VolumeDriver.Path", R"({"Name":"nobody"})", "no such volume"},
      {"VolumeDriver.Get", "", "empty body"},
      {"VolumeDriver.Get", R"({"Name":"nobody"})", "no such volume"},
      {"VolumeDriver.Get", R"({"Name":"../bad-other"})", "no such volume"},
      {"VolumeDriver.Get", Json{{"Name", std::string(10'000, 'n')}}.dump(), "no such volume"},
      {"VolumeDriver.List", "", "empty body"},
      {"Rewind.Set", R"({"Name":"bad-other"})", "nothing to set"},
      {"Rewind.Set", R"({"Name":"bad-other","Changes":{"keep":7}})", "\"keep\" is not a string"},
      {"Rewind.DryRun", R"({"Name":"bad-other","Changes":[]})", "not a JSON object"},
      {"Rewind.Mark", R"({"Label":"x"})", "needs an array \"Names\""},
      {"Rewind.Mark", R"({"Names":[7],"Label":"x"})", "one of \"Names\" is not a string"},
      {"Rewind.Mark", R"({"Names":[],"Label":"x","All":"yes"})", "neither true nor false"},
      {"Rewind.Mark", R"({"Names":["bad-other"],"Label":"x","All":true})", "not both"},
      {"Rewind.Mark", R"({"Names":["bad-other"]})", "needs a string \"Label\""},
      {"Rewind.Pins", "{}", "needs a string \"Name\""},
      {"Rewind.Purge", R"({"Name":"nobody"})", "nobody"},
      {"Rewind.Remove", R"({"Name":"bad-held"})", "holder7"},
      {"VolumeDriver.Nonsense", "{}", "no such endpoint"},
      {"", "{}", "no such endpoint"},
      {"VolumeDriver.Get/x", "{}", "no such endpoint"},
      {"volumedriver.get", "{}", "no such endpoint"},
  };
  Json before = Post("Rewind.List", Json::object());
  for (const BadRequest& bad : requests) {
    std::string answer = daemon_->Exchange("POST /" + std::string(bad.endpoint) +
                                           " HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                                           std::to_string(bad.body.size()) + "\r\n\r\n" + bad.body);
    Json json = Json::parse(BodyOf(answer), nullptr, false);
    ASSERT_TRUE(json.is_object()) << bad.endpoint << " " << bad.body << ": " << answer;
    std::string refusal = Err(json);
    EXPECT_THAT(refusal, HasSubstr(bad.why)) << bad.endpoint << " " << bad.body.substr(0, 200);
    bool is_help = bad.body.find("help") != std::string::npos;
    EXPECT_TRUE(is_help || refusal.find('\n') == std::string::npos) << refusal;
    EXPECT_LT(refusal.size(), 2000u);
  }
  EXPECT_EQ(Post("Rewind.List", Json::object()), before);
  Post("VolumeDriver.Unmount", {{"Name", "bad-held"}, {"ID", "holder7"}});
}

TEST_F(ServerTest, SnapshotVolumesCannotBeWritten) {
  Create("ro-source");
  Create("ro", {{"snapshot-of", "ro-source"}});
  stdfs::path path =
      Post("VolumeDriver.Mount", {{"Name", "ro"}, {"ID", "c"}})["Mountpoint"].get<std::string>();
  EXPECT_EQ(mkdir((path / "x").c_str(), 0700), -1);
  EXPECT_EQ(errno, EROFS);
  Post("VolumeDriver.Unmount", {{"Name", "ro"}, {"ID", "c"}});
}

TEST_F(ServerTest, BytesThatAreNotHttpDoNotHurt) {
  for (const std::string& bytes :
       {std::string("\r\n\r\n"), std::string(100'000, 'x'), std::string(5000, '\0'),
        std::string("POST / HTTP/9.9\r\n\r\n"),
        std::string("GET /VolumeDriver.Get HTTP/1.1\r\n\r\n"),
        std::string("POST /VolumeDriver.Get HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n{}"),
        std::string("POST /VolumeDriver.Get HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
        "POST /" + std::string(8000, 'y') + " HTTP/1.1\r\nContent-Length: 0\r\n\r\n"}) {
    daemon_->Exchange(bytes + "\r\n\r\n", true);
    ASSERT_EQ(Err(Post("VolumeDriver.List", Json::object())), "");
  }
}

TEST_F(ServerTest, BodiesHaveALimit) {
  std::string body(2 << 20, 'x');
  std::string head = "POST /VolumeDriver.Create HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
  std::string answer = daemon_->Exchange(head + "Content-Length: " + std::to_string(body.size()) +
                                         "\r\n\r\n" + body);
  EXPECT_THAT(answer, HasSubstr("413"));
  EXPECT_THAT(Err(Json::parse(BodyOf(answer))), HasSubstr("larger than 1 MiB"));
  EXPECT_EQ(Err(Post("VolumeDriver.List", Json::object())), "");
}

TEST_F(ServerTest, TwoHundredAtOnceAreAllAnswered) {
  Create("busy");
  std::vector<std::future<std::string>> answers;
  for (int i = 0; i < 200; ++i) {
    answers.push_back(std::async(std::launch::async, [] {
      return Err(Post("VolumeDriver.Get", {{"Name", "busy"}}));
    }));
  }
  for (auto& answer : answers) EXPECT_EQ(answer.get(), "");
}

TEST_F(ServerTest, TheSocketIsForRootAlone) {
  struct stat status;
  ASSERT_EQ(stat(daemon_->socket().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

class ServerReadinessTest : public ::testing::Test {
 protected:
  void BecomeReady() {
    StoreOptions store_options;
    store_options.root = directory_.path() / "root";
    store_ = Store::Open(std::move(store_options));
    VolumesOptions options;
    options.mounts = directory_.path() / "mounts";
    volumes_ = std::make_unique<Volumes>(*store_, std::move(options));
    server_.Ready(*volumes_);
  }
  std::future<Json> AskForList() {
    return std::async(std::launch::async,
                      [this] { return Ask(socket_, "VolumeDriver.List", Json::object()); });
  }

  testing::TempDir directory_;
  const stdfs::path socket_ = directory_.path() / "s";
  std::unique_ptr<Store> store_;
  std::unique_ptr<Volumes> volumes_;
  Server server_{socket_};
};

TEST_F(ServerReadinessTest, RequestsWaitForTheStoreButCapabilitiesDoNot) {
  EXPECT_EQ(Ask(socket_, "VolumeDriver.Capabilities", Json::object())["Capabilities"]["Scope"],
            "local");
  EXPECT_TRUE(Ask(socket_, "Plugin.Activate", Json::object()).contains("Implements"));
  auto list = AskForList();
  EXPECT_EQ(list.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  BecomeReady();
  EXPECT_EQ(list.get()["Volumes"], Json::array());
  server_.Stop();
  EXPECT_FALSE(stdfs::exists(socket_));
  EXPECT_THROW(Ask(socket_, "VolumeDriver.List", Json::object()), Refused);
}

TEST_F(ServerReadinessTest, AnAnswerThatTookLongerThanAClientHasToTakeItIsGiven) {
  auto list = AskForList();
  EXPECT_EQ(list.wait_for(std::chrono::seconds(11)), std::future_status::timeout);
  BecomeReady();
  EXPECT_EQ(list.get()["Volumes"], Json::array());
}

TEST(ServerEndTest, AServerThatListensNoMoreCanBeStopped) {
  // Nothing can be accepted from what does not listen.
  const int never_listened = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(never_listened, 0);
  Server server(never_listened);
  std::this_thread::sleep_for(
      std::chrono::milliseconds(100));  // most likely it has given up by now
  server.Stop();
}

TEST(PatienceTest, WhatAPredecessorHoldsIsTriedAgain) {
  int tries = 0;
  const auto needs_three = [&] {
    if (++tries < 3) throw Refused(EBUSY, "held");
    return tries;
  };
  EXPECT_EQ(WithPatience(EBUSY, std::chrono::minutes(1), needs_three), 3);
  tries = 0;
  EXPECT_THROW(WithPatience(EADDRINUSE, std::chrono::minutes(1), needs_three), Refused);
  EXPECT_EQ(tries, 1);
  tries = 0;
  EXPECT_THROW(WithPatience(EBUSY, std::chrono::milliseconds(-1), needs_three), Refused);
}

TEST(UnixSocketTest, OnlyAStaleSocketIsReplaced) {
  testing::TempDir directory;
  stdfs::path socket = directory.path() / "not" / "yet" / "s";
  int first = ListenOn(socket);
  EXPECT_THROW(ListenOn(socket), Refused);
  close(first);
  EXPECT_TRUE(stdfs::exists(socket));
  int second = ListenOn(socket);
  EXPECT_GE(second, 0);
  close(second);

  stdfs::path file = directory.path() / "file";
  std::ofstream(file) << "precious";
  EXPECT_THROW(ListenOn(file), Refused);
  EXPECT_EQ(stdfs::file_size(file), 8u);
  EXPECT_THROW(ListenOn(directory.path() / std::string(108, 'x')), Refused);
}

TEST(UnixSocketTest, OfManyAtOnceOneListensAndIsReached) {
  constexpr int kRounds = 100, kAtOnce = 4;
  testing::TempDir directory;
  const stdfs::path socket = directory.path() / "s";
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::future<int>> all;
    for (int i = 0; i < kAtOnce; ++i) {
      all.push_back(std::async(std::launch::async, [&] {
        try {
          return ListenOn(socket);
        } catch (const Refused&) {
          return -1;
        }
      }));
    }
    std::vector<int> listening;
    for (auto& one : all) {
      if (const int fd = one.get(); fd >= 0) listening.push_back(fd);
    }
    ASSERT_EQ(listening.size(), 1u) << "round " << round;
    const int reached = ConnectTo(socket);
    ASSERT_GE(reached, 0) << "round " << round;
    close(reached);
    close(listening.front());  // the file stays, stale
  }
}

}  // namespace
}  // namespace rw
