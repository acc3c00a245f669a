// For tests: resources in few words, and BIRD's own opinion of a configuration.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "network/bgp/bird_configuration.h"
#include "network/bgp/intent.h"

namespace ocicat::network::bgp {

inline IpAddress address(std::string_view text) {
  return *IpAddress::parse(text);
}
inline Prefix prefix(std::string_view text) {
  return *Prefix::parse(text, true);
}

inline Node node(std::string name, std::string_view ipv4, std::string_view ipv6 = {}, Labels labels = {}) {
  Node node;
  node.metadata.name = std::move(name);
  node.metadata.labels = std::move(labels);
  if (!ipv4.empty()) node.ipv4 = prefix(ipv4);
  if (!ipv6.empty()) node.ipv6 = prefix(ipv6);
  return node;
}

template <class T>
void put(std::map<std::string, T>& map, T value) {
  auto name = value.metadata.name;
  map.insert_or_assign(std::move(name), std::move(value));
}

inline IpPool pool(std::string name, std::string_view cidr) {
  IpPool pool;
  pool.metadata.name = std::move(name);
  pool.cidr = prefix(cidr);
  return pool;
}

// hostN has 10.0.0.N and fd00::N.
inline Input cluster(int hosts, std::string self = "host1") {
  Input input;
  input.node = std::move(self);
  for (int i = 1; i <= hosts; ++i)
    put(input.nodes,
        node(fmt::format("host{}", i), fmt::format("10.0.0.{}/24", i), fmt::format("fd00::{}/64", i)));
  put(input.pools, pool("pods", "10.65.0.0/16"));
  put(input.pools, pool("pods6", "fd65::/48"));
  return input;
}

inline Result<std::string> no_secrets(const SecretKey& key) {
  return fail(ErrorCode::kNotFound, "there is no secret {}", key.name);
}
inline Result<std::string> any_secret(const SecretKey& key) {
  return fmt::format("{}/{} word", key.name, key.key);
}

// What `bird -p` says against it; empty: it would take it.
inline std::string complaints_of_bird(const std::string& configuration) {
  std::string file = "/tmp/ocicat-bird-XXXXXX";
  const int fd = ::mkstemp(file.data());
  EXPECT_GE(fd, 0);
  ::close(fd);
  std::ofstream(file) << configuration;
  std::FILE* bird = ::popen(fmt::format("PATH=$PATH:/usr/sbin bird -p -c {} 2>&1", file).c_str(), "r");
  EXPECT_NE(bird, nullptr);
  std::string said;
  for (int c = std::fgetc(bird); c != EOF; c = std::fgetc(bird)) said += static_cast<char>(c);
  const int status = ::pclose(bird);
  ::unlink(file.c_str());
  return status == 0 ? "" : said + fmt::format(" (exit {}; Debian's bird2 has bird)", status);
}

}  // namespace ocicat::network::bgp
