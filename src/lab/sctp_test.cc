#include "lab/sctp.h"

#include <gtest/gtest.h>

namespace ocicat::lab::sctp {
namespace {

const Packet kInit{.source_port = 40000, .destination_port = 80, .initiate_tag = 0x01020304};

TEST(Sctp, WhatIsEncodedIsDecoded) {
  for (const auto& packet : {kInit, answer(kInit, true, 99), answer(kInit, false, 99)}) {
    EXPECT_EQ(decode(encode(packet)), packet);
  }
}

TEST(Sctp, TheChecksumIsCrc32cAsAnotherImplementationComputesIt) {
  // scapy:
  // SCTP(sport=1,dport=2,tag=0)/SCTPChunkInit(init_tag=1,a_rwnd=65536,n_out_streams=1,n_in_streams=1,init_tsn=1)
  const auto bytes = encode({.source_port = 1, .destination_port = 2, .initiate_tag = 1});
  const std::vector<std::uint8_t> sum(bytes.begin() + 8, bytes.begin() + 12);
  EXPECT_EQ(sum, (std::vector<std::uint8_t>{0xaa, 0x21, 0x9b, 0xbc}));
}

TEST(Sctp, AChangedBitOrAShortPacketIsNotDecoded) {
  auto bytes = encode(kInit);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode(std::span(bytes).first(length)).has_value()) << length;
  }
  bytes[5] ^= 1;
  EXPECT_FALSE(decode(bytes).has_value());
}

TEST(Sctp, AnswersCarryTheTagThatTheInitAskedFor) {
  EXPECT_EQ(answer(kInit, true, 7).verification_tag, kInit.initiate_tag);
  EXPECT_EQ(answer(kInit, false, 7).verification_tag, kInit.initiate_tag);
  EXPECT_EQ(answer(kInit, true, 7).destination_port, kInit.source_port);
}

}  // namespace
}  // namespace ocicat::lab::sctp
