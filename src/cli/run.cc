#include "cli/run.h"

#include <CLI/CLI.hpp>
#include <boost/json/value.hpp>
#include <cstdio>
#include <iostream>

#include "views/text_table.h"

namespace ocicat::cli {
namespace {

void print_line(std::string_view word, std::string_view message) {
  std::fflush(stdout);  // so that what was done stands before what failed, where both go to one place
  fmt::print(stderr, "{}: {}\n", word, views::printable(message));
}

}  // namespace

void finish(const Result<int>& outcome) {
  if (!outcome) {
    print_error(outcome.error());
    throw CLI::RuntimeError(kFailed);
  }
  if (*outcome != kDone) throw CLI::RuntimeError(*outcome);
}

void wrong_usage(const Error& error) {
  print_error(error);
  throw CLI::RuntimeError(kUsage);
}

bool all_is_written() {
  // Help comes by way of std::cout.
  return std::cout.flush() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}

void print_error(const Error& error) {
  print_line("error", error.message);
}
void print_warning(std::string_view message) {
  print_line("warning", message);
}

TimePoint now() {
  return std::chrono::system_clock::now();
}

CLI::Option* add_server_option(CLI::App& command, std::string& server) {
  return command
      .add_option(
          "--server", server,
          "Address of the server: unix:///PATH or http://127.0.0.1:PORT (default: $OCICAT_SERVER, else the "
          "standard socket)")
      ->type_name("ADDR");
}

api::Address address_of(const std::string& server) {
  return typed(api::Address::parse(server.empty() ? api::Address::standard().text : server));
}

Result<api::Client> connect(const std::string& server) {
  const api::Address address = address_of(server);
  api::Client client(address);
  if (const auto version = client.get_raw("/version"); !version) {
    if (version.error().code != ErrorCode::kUnavailable) return std::unexpected(version.error());
    return fail(ErrorCode::kUnavailable,
                "cannot reach the server at {} ({}): start it with `ocicat server`, or say where it is with "
                "--server or "
                "OCICAT_SERVER",
                address.text, version.error().message);
  }
  return client;
}

}  // namespace ocicat::cli
