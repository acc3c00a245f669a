// For tests: a server in this process, on a socket of its own in a folder of its own.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <filesystem>
#include <memory>

#include "api/client/client.h"
#include "api/server/server.h"

namespace ocicat::api {

class TestServer {
 public:
  TestServer() : TestServer(std::string()) {}
  // Over a database that is there already; it stays. Empty: a new one.
  explicit TestServer(const std::string& database) {
    static int count = 0;
    folder_ = std::filesystem::temp_directory_path() / fmt::format("ocicat-api-{}-{}", ::getpid(), ++count);
    std::filesystem::create_directories(folder_);
    options_.socket_path = folder_ / "server.sock";
    options_.database_path = database.empty() ? (folder_ / "ocicat.db").string() : database;
    start();
  }
  ~TestServer() {
    stop();
    std::filesystem::remove_all(folder_);
  }

  void start() {
    auto server = Server::start(options_);
    if (!server) {
      ADD_FAILURE() << server.error().message;
      return;
    }
    server_ = *std::move(server);
  }
  void stop() { server_.reset(); }
  // As if somebody had started the server over another file.
  void lose_data() {
    for (const auto* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(options_.database_path + suffix);
  }

  // Of a server that is stopped.
  void back_up() const { std::filesystem::copy_file(options_.database_path, folder_ / "backup.db"); }
  void restore() {
    lose_data();
    std::filesystem::copy_file(folder_ / "backup.db", options_.database_path);
  }

  Address address() const { return Address{"unix://" + options_.socket_path}; }
  Client client() const { return Client(address()); }
  const ServerOptions& options() const { return options_; }

 private:
  std::filesystem::path folder_;
  ServerOptions options_;
  std::unique_ptr<Server> server_;
};

inline boost::json::object network_set(std::string_view name, std::string_view net) {
  return {{"apiVersion", "projectcalico.org/v3"},
          {"kind", "GlobalNetworkSet"},
          {"metadata", boost::json::object{{"name", name}, {"labels", boost::json::object{{"name", name}}}}},
          {"spec", boost::json::object{{"nets", boost::json::array{net}}}}};
}

}  // namespace ocicat::api
