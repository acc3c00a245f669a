#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <latch>
#include <mutex>
#include <thread>

#include "http/client.h"
#include "http/server.h"

namespace ocicat::http {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

std::string socket_path() {
  static int count = 0;
  return (std::filesystem::temp_directory_path() / fmt::format("ocicat-http-{}-{}.sock", ::getpid(), ++count))
      .string();
}

Response text(std::string body) {
  Response response;
  response.body = std::move(body);
  return response;
}

void echo(const Request& request, const Respond& respond) {
  respond(text(fmt::format("{} {} {}", request.method, request.target, request.body)));
}

class HttpTest : public testing::Test {
 protected:
  ~HttpTest() override {
    server_.reset();
    std::filesystem::remove(path_);
  }

  void serve(Handler handler, ServerOptions options = {}) {
    options.endpoints = {Endpoint::unix_socket(path_)};
    auto server = Server::start(std::move(options), std::move(handler));
    ASSERT_TRUE(server) << server.error().message;
    server_ = *std::move(server);
  }
  BlockingClient client(Timeouts timeouts = {}) const {
    return BlockingClient(Endpoint::unix_socket(path_), timeouts);
  }

  // Sends bytes as they are, and returns all that comes back until the server closes.
  std::string exchange_raw(std::string_view bytes) const {
    UniqueFd fd = connect_raw();
    std::thread sender([&] {  // the server may answer, and stop reading, before it has taken all
      for (auto rest = bytes; !rest.empty();) {
        const auto sent = ::send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (sent <= 0) return;
        rest.remove_prefix(static_cast<std::size_t>(sent));
      }
    });
    std::string answer;
    std::array<char, 4096> piece{};
    for (ssize_t got = 0; (got = ::recv(fd.get(), piece.data(), piece.size(), 0)) > 0;)
      answer.append(piece.data(), static_cast<std::size_t>(got));
    sender.join();
    return answer;
  }

  UniqueFd connect_raw() const {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    path_.copy(name.sun_path, sizeof name.sun_path - 1);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    return fd;
  }

  const std::string path_ = socket_path();
  std::unique_ptr<Server> server_;
};

// Says numbers as long as it is told to; counts how far it was asked.
class Counting final : public Stream {
 public:
  explicit Counting(std::size_t piece_bytes, std::uint64_t end) : piece_(piece_bytes, 'x'), end_(end) {}
  std::optional<std::string> next() override {
    if (given_ == end_) return std::nullopt;
    ++given_;
    return piece_;
  }
  void on_more(std::function<void()>) override {}
  std::uint64_t given() const { return given_; }

 private:
  const std::string piece_;
  const std::uint64_t end_;
  std::atomic<std::uint64_t> given_ = 0;
};

// Says what it is given from outside.
class Fed final : public Stream {
 public:
  ~Fed() override {
    const std::scoped_lock lock(mutex_);
    if (on_destroy_) on_destroy_();
  }
  void feed(std::optional<std::string> piece) {
    const std::scoped_lock lock(mutex_);
    if (piece) {
      waiting_ += *piece;
    } else {
      ended_ = true;
    }
    if (wake_) wake_();
  }
  std::optional<std::string> next() override {
    const std::scoped_lock lock(mutex_);
    if (waiting_.empty() && ended_) return std::nullopt;
    return std::exchange(waiting_, {});
  }
  void on_more(std::function<void()> wake) override {
    const std::scoped_lock lock(mutex_);
    wake_ = std::move(wake);
  }
  void on_destroy(std::function<void()> callback) { on_destroy_ = std::move(callback); }

 private:
  std::mutex mutex_;
  std::string waiting_;
  bool ended_ = false;
  std::function<void()> wake_;
  std::function<void()> on_destroy_;
};

TEST_F(HttpTest, ARequestReachesTheHandlerAndItsAnswerComesBack) {
  serve(echo);
  auto client = this->client();
  const auto response = client.send({"POST", "/a?b=c", {}, "hello"});
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "POST /a?b=c hello");
}

TEST_F(HttpTest, AConnectionCarriesManyRequestsAndSurvivesANewServer) {
  serve(echo);
  auto client = this->client();
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(client.send({"GET", fmt::format("/{}", i), {}, {}})->body, fmt::format("GET /{} ", i));
  server_.reset();
  EXPECT_EQ(client.send({}).error().code, ErrorCode::kUnavailable);
  serve(echo);
  EXPECT_TRUE(client.send({}));
}

// A server that closes each connection when it is asked for the second time, without an answer.
TEST_F(HttpTest, WhatIsAskedJustWhenTheServerClosesTheConnectionIsAskedAgainIfItChangesNothing) {
  auto listening = listen(Endpoint::unix_socket(path_));
  ASSERT_TRUE(listening) << listening.error().message;
  std::vector<std::string> heard;
  std::thread server([&] {
    for (int connections = 0; connections < 3; ++connections) {
      pollfd door{listening->fd.get(), POLLIN, 0};
      ::poll(&door, 1, 60'000);
      const UniqueFd fd(::accept4(listening->fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
      std::array<char, 4096> piece{};
      const auto hear = [&] {
        const auto got = ::recv(fd.get(), piece.data(), piece.size(), 0);
        if (got <= 0) return false;
        const std::string_view all(piece.data(), static_cast<std::size_t>(got));
        heard.emplace_back(all.substr(0, all.find(" HTTP")));
        return true;
      };
      constexpr std::string_view kAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
      if (hear()) ::send(fd.get(), kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
      hear();
    }
  });
  auto client = std::make_unique<BlockingClient>(Endpoint::unix_socket(path_));
  const auto said = [&](const char* method, const char* target) {
    const auto response = client->send({method, target, {}, {}});
    return response ? response->body : std::string("no answer");
  };
  EXPECT_EQ(said("GET", "/1"), "ok");
  EXPECT_EQ(said("GET", "/2"), "ok");
  EXPECT_EQ(said("PUT", "/3"), "no answer");
  EXPECT_EQ(said("GET", "/4"), "ok");
  EXPECT_EQ(said("PUT", "/5"), "no answer");
  client.reset();
  server.join();
  EXPECT_EQ(heard, (std::vector<std::string>{"GET /1", "GET /2", "GET /2", "PUT /3", "GET /4", "PUT /5"}));
}

TEST_F(HttpTest, TcpOnLoopbackWorksAsWell) {
  ServerOptions options;
  options.endpoints = {*Endpoint::parse("127.0.0.1:0"), *Endpoint::parse("http://[::1]:0")};
  const auto server = Server::start(options, echo);
  ASSERT_TRUE(server) << server.error().message;
  for (const auto& endpoint : (*server)->endpoints()) {
    EXPECT_NE(endpoint.port, 0);
    const auto response = BlockingClient(endpoint).send({});
    EXPECT_TRUE(response) << response.error().message;
  }
}

TEST_F(HttpTest, ManyConnectionsAreServedAtTheSameTime) {
  constexpr std::ptrdiff_t kClients = 16;
  std::latch all_in(kClients);
  ServerOptions options;
  options.workers = kClients;
  serve(
      [&](const Request&, const Respond& respond) {
        all_in.arrive_and_wait();
        respond(text("together"));
      },
      options);
  std::vector<std::thread> threads;
  for (int i = 0; i < kClients; ++i) {
    threads.emplace_back([this] { EXPECT_EQ(client().send({})->body, "together"); });
  }
  for (auto& thread : threads) thread.join();
  server_.reset();
}

TEST_F(HttpTest, AnAnswerMayComeLaterAndFromAnotherThread) {
  std::thread later;
  serve([&](const Request&, Respond respond) {
    later = std::thread([respond = std::move(respond)] { respond(text("later")); });
  });
  EXPECT_EQ(client().send({})->body, "later");
  server_.reset();  // the handler has returned, so `later` is set
  later.join();
}

TEST_F(HttpTest, ADroppedRequestIsAnsweredWith500) {
  serve([](const Request&, const Respond&) {});
  EXPECT_EQ(client().send({})->status, 500);
}

TEST_F(HttpTest, ABodyThatIsTooLargeIsRefused) {
  ServerOptions options;
  options.max_body_bytes = 1000;
  serve(echo, options);
  EXPECT_EQ(client().send({"POST", "/", {}, std::string(1000, 'x')})->status, 200);
  EXPECT_EQ(client().send({"POST", "/", {}, std::string(1001, 'x')})->status, 413);
  EXPECT_EQ(client().send({"POST", "/", {}, std::string(8'000'000, 'x')})->status, 413);
  // Chunked, so that nobody knows beforehand.
  std::string chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) chunked += "64\r\n" + std::string(100, 'x') + "\r\n";
  EXPECT_THAT(exchange_raw(chunked + "0\r\n\r\n"), StartsWith("HTTP/1.1 413"));
}

TEST_F(HttpTest, WhatIsNotHttpIsRefusedAndTheServerGoesOn) {
  serve(echo);
  EXPECT_THAT(exchange_raw("what is this\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(exchange_raw(std::string("GET /\0 HTTP/1.1\r\n\r\n", 19)), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(exchange_raw("GET / HTTP/1.1\r\nno colon\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(exchange_raw("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(exchange_raw("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(exchange_raw("GET / HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 505"));
  EXPECT_THAT(exchange_raw("GET / HTTP/1.1\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
  EXPECT_TRUE(client().send({}));
}

TEST_F(HttpTest, AClientThatAsksFirstIsToldToGoOn) {
  serve(echo);
  EXPECT_THAT(
      exchange_raw("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: "
                   "close\r\nContent-Length: 2\r\n\r\nhi"),
      testing::AllOf(StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), HasSubstr("POST / hi")));
}

TEST_F(HttpTest, AClientThatNeverFinishesItsHeadIsCutOff) {
  ServerOptions options;
  options.head_timeout = 50ms;
  serve(echo, options);
  EXPECT_EQ(exchange_raw("GET / HTTP/1.1\r\nX"), "");
}

TEST_F(HttpTest, AStreamArrivesPieceByPiece) {
  auto source = std::make_shared<Fed>();
  serve([&](const Request&, const Respond& respond) {
    Response response;
    response.stream = source;
    respond(std::move(response));
  });
  source->feed("one ");
  std::string got;
  auto client = this->client();
  const auto response = client.stream({}, [&](std::string_view data) {
    got += data;
    if (got == "one ") source->feed("two ");
    if (got == "one two ") {
      source->feed("three");
      source->feed(std::nullopt);
    }
    return true;
  });
  ASSERT_TRUE(response) << response.error().message;
  EXPECT_EQ(got, "one two three");
  EXPECT_TRUE(client.send({})) << "the connection can be used again";
}

TEST_F(HttpTest, AStreamIsLetGoWhenItsReaderHangsUp) {
  std::latch gone(1);
  serve([&](const Request&, const Respond& respond) {
    auto source = std::make_shared<Fed>();
    source->on_destroy([&gone] { gone.count_down(); });
    source->feed("first");
    Response response;
    response.stream = std::move(source);
    respond(std::move(response));
  });
  EXPECT_TRUE(client().stream({}, [](std::string_view) { return false; }));
  gone.wait();
  server_.reset();
}

TEST_F(HttpTest, ASlowReaderIsNotAskedForAndThenCutOff) {
  auto source = std::make_shared<Counting>(64 * 1024, 1'000'000);
  ServerOptions options;
  options.write_timeout = 200ms;
  serve(
      [&](const Request&, const Respond& respond) {
        Response response;
        response.stream = source;
        respond(std::move(response));
      },
      options);
  const auto fd = connect_raw();
  static constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_EQ(::send(fd.get(), kRequest.data(), kRequest.size(), 0), static_cast<ssize_t>(kRequest.size()));
  // Never reads. The server lets go of the source once its write timeout is over.
  const std::weak_ptr<Counting> weak = source;
  while (source.use_count() > 1 || source->given() == 0) std::this_thread::yield();
  EXPECT_LT(source->given(), 1'000u) << "what fits into the socket's buffers, no more";
}

TEST_F(HttpTest, StoppingEndsStreamsAndLetsRequestsFinish) {
  std::latch in_work(1);
  std::latch go_on(1);
  serve([&](const Request& request, const Respond& respond) {
    if (request.target == "/stream") {
      auto source = std::make_shared<Fed>();
      source->feed("first");
      Response response;
      response.stream = std::move(source);
      return respond(std::move(response));
    }
    in_work.count_down();
    go_on.wait();
    respond(text("finished"));
  });
  std::latch streaming(1);
  std::thread stream([&] {
    const auto ended = client().stream({"GET", "/stream", {}, {}}, [&](std::string_view) {
      streaming.count_down();
      return true;
    });
    EXPECT_TRUE(ended) << ended.error().message;
  });
  std::thread request([&] { EXPECT_EQ(client().send({})->body, "finished"); });
  in_work.wait();
  streaming.wait();
  std::thread stop([&] { server_->stop(); });
  stream.join();  // ends while the other request is still in work
  go_on.count_down();
  request.join();
  stop.join();
  EXPECT_EQ(client().send({}).error().code, ErrorCode::kUnavailable);
}

TEST_F(HttpTest, AServerThatDoesNotAnswerIsGivenUp) {
  std::latch done(1);
  ServerOptions options;
  options.grace = 10ms;
  serve(
      [&](const Request&, const Respond& respond) {
        done.wait();
        respond({});
      },
      options);
  const auto response = client({.head = 50ms}).send({});
  EXPECT_EQ(response.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(response.error().message, HasSubstr("no answer in time"));
  done.count_down();
  server_.reset();  // the handler uses what is local here
}

TEST_F(HttpTest, ASocketFileOfADeadServerIsReplacedAndThatOfALivingOneIsNot) {
  serve(echo);
  struct stat info{};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660u);
  const auto second = listen(Endpoint::unix_socket(path_));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(std::filesystem::exists(path_ + ".lock"));
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_ + ".lock"));

  {  // as kill -9 leaves it
    auto listening = listen(Endpoint::unix_socket(path_));
    ASSERT_TRUE(listening) << listening.error().message;
  }
  ASSERT_TRUE(std::filesystem::exists(path_));
  serve(echo);
  EXPECT_TRUE(client().send({}));
}

TEST_F(HttpTest, AnswersHeadWithoutABodySoThatTheNextAnswerIsWhereItIsLookedFor) {
  serve([](Request request, Respond respond) {
    respond({200, "text/plain", {}, "said to " + request.method, {}});
  });
  const auto answer = exchange_raw(
      "HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 12\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("said to HEAD")));
  EXPECT_THAT(answer, HasSubstr("said to GET"));
}

TEST_F(HttpTest, ASocketThatIsForOthersIsSaidToBe) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become nobody";
  serve(echo);
  // Ends without what is done at an end, which a sanitizer may not do as nobody.
  const auto ask_as_nobody = [&] {
    if (::setgroups(0, nullptr) != 0 || ::setegid(65534) != 0 || ::seteuid(65534) != 0) ::_exit(99);
    const auto response = client().send({});
    if (response) ::_exit(1);
    std::fputs(response.error().message.c_str(), stderr);
    ::_exit(response.error().code == ErrorCode::kPermission ? 0 : 2);
  };
  EXPECT_EXIT(ask_as_nobody(), testing::ExitedWithCode(0),
              "connect: Permission denied; this process does not run as root");
}

TEST_F(HttpTest, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(path_) << "precious";
  EXPECT_EQ(listen(Endpoint::unix_socket(path_)).error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(std::filesystem::exists(path_));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".lock")) << "whoever is refused leaves nothing behind";
}

TEST_F(HttpTest, OfManyWhoWantOneSocketAtATimeOneHasItHoweverOftenItChangesHands) {
  constexpr int kRivals = 4;
  std::atomic<int> holders = 0;
  std::atomic<int> turns = 0;
  std::vector<std::jthread> rivals;
  for (int rival = 0; rival < kRivals; ++rival) {
    rivals.emplace_back([&] {
      while (turns < 200) {
        const auto lock = SocketLock::take(path_);
        if (!lock) {
          EXPECT_EQ(lock.error().code, ErrorCode::kUnavailable);
          continue;
        }
        EXPECT_EQ(++holders, 1);
        ++turns;
        std::this_thread::yield();
        --holders;
      }
    });
  }
}

TEST(HttpEndpoint, ReadsAddressesAndRefusesWhatItCannotDo) {
  EXPECT_EQ(Endpoint::parse("unix:///run/x.sock")->path, "/run/x.sock");
  EXPECT_EQ(Endpoint::parse("http://127.0.0.1:8321")->port, 8321);
  EXPECT_EQ(Endpoint::parse("localhost:80")->to_string(), "http://127.0.0.1:80");
  EXPECT_EQ(Endpoint::parse("http://[::1]:8321/")->to_string(), "http://[::1]:8321");
  EXPECT_TRUE(Endpoint::parse("[::1]:1")->is_loopback());
  EXPECT_FALSE(Endpoint::parse("10.0.0.1:1")->is_loopback());
  EXPECT_EQ(Endpoint::parse("https://127.0.0.1:1").error().code, ErrorCode::kUnsupported);
  for (const auto* bad : {"", "unix://", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "example.org:80",
                          ":80", "127.0.0.1:8x"}) {
    EXPECT_EQ(Endpoint::parse(bad).error().code, ErrorCode::kInvalid) << bad;
  }
}

TEST(HttpTarget, IsTakenApart) {
  const auto target = Target::parse("/apis/a%20b/?x=1&y=a%2Bb+c&z&&x=2");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/apis/a%20b/");
  EXPECT_THAT(target->segments, testing::ElementsAre("apis", "a b"));
  EXPECT_EQ(target->parameter("x"), "1");
  EXPECT_EQ(target->parameter("y"), "a+b c");
  EXPECT_EQ(target->parameter("z"), "");
  EXPECT_TRUE(Target::parse("/")->segments.empty());
  for (const auto* bad : {"", "x", "http://x/", "/%", "/%4", "/%zz", "/?a=%"})
    EXPECT_FALSE(Target::parse(bad)) << bad;
  EXPECT_EQ(percent_encode("a b/ü~"), "a%20b%2F%C3%BC~");
}

}  // namespace
}  // namespace ocicat::http
