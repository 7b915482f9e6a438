// The memory behind `m_axi`, with the timing that native.py defines, and the stalls of a channel.

#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "Vtop.h"
#include "einchip_config.h"  // EINCHIP_PORT_BYTES, EINCHIP_HOOK
#include "harness_jobs.h"

// Verilator writes the second of two underscores as `__05F`.
#define S_AXIL(name) top_->s_axil___05F##name
#define M_AXI(name) top_->m_axi___05F##name

constexpr uint64_t kPortBytes = EINCHIP_PORT_BYTES;
constexpr uint8_t kPoison = 0xA5;

using Beat = std::array<uint8_t, kPortBytes>;

// One channel's stalls: runs of 1 to stall_cycles cycles, each closed with the probability asked.
class Gate {
public:
    Gate(const Job& job, uint64_t channel)
        : stall_256_(job.stall_256), stall_cycles_(job.stall_cycles),
          state_(job.seed * 0x9E3779B97F4A7C15u + channel * 0xBF58476D1CE4E5B9u) {}

    // To be asked once in a cycle.
    bool open() {
        if (!stall_256_) return true;
        if (!left_) {
            closed_ = next() % 256 < stall_256_;
            left_ = 1 + next() % stall_cycles_;
        }
        --left_;
        return !closed_;
    }

private:
    uint64_t next() {  // splitmix64
        uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return (z ^ (z >> 31)) >> 8;
    }
    uint64_t stall_256_, stall_cycles_, state_, left_ = 0;
    bool closed_ = false;
};

// Checks that what a channel of the machine offers stays until it is taken.
class Stable {
public:
    Stable(const char* channel, Summary& summary) : channel_(channel), summary_(summary) {}

    void check(uint64_t cycle, bool valid, bool ready, std::vector<uint8_t> payload) {
        if (waiting_ && !valid)
            summary_.violation(cycle, std::string(channel_) + "valid fell before ready");
        else if (waiting_ && payload != payload_)
            summary_.violation(cycle, std::string(channel_) + " changed before ready");
        waiting_ = valid && !ready;
        if (waiting_) payload_ = std::move(payload);
    }
    bool needed(bool valid, bool ready) const { return waiting_ || (valid && !ready); }

private:
    const char* channel_;
    Summary& summary_;
    bool waiting_ = false;
    std::vector<uint8_t> payload_;
};

template <typename... Ports> std::vector<uint8_t> bytes_of(const Ports&... ports) {
    std::vector<uint8_t> bytes;
    (bytes.insert(bytes.end(), reinterpret_cast<const uint8_t*>(&ports),
                  reinterpret_cast<const uint8_t*>(&ports) + sizeof ports), ...);
    return bytes;
}

// The memory behind m_axi. `drive` sets a cycle's inputs, `sample` takes what was agreed in it.
class Memory {
public:
    Memory(Vtop* top, const Job& job, Summary& summary)
        : top_(top), job_(job), summary_(summary), bytes_(job.memory_bytes),
          ar_(job, 1), r_(job, 2), aw_(job, 3), w_(job, 4), b_(job, 5),
          ar_stable_("ar", summary), aw_stable_("aw", summary), w_stable_("w", summary) {
        static_assert(sizeof(M_AXI(rdata)) == kPortBytes, "the port is not as wide as was said");
    }

    std::vector<uint8_t>& bytes() { return bytes_; }

    void drive(uint64_t cycle) {
        M_AXI(arready) = ar_.open();
        M_AXI(awready) = aw_.open();
        M_AXI(wready) = w_.open();
        const bool r_open = r_.open(), b_open = b_.open();
        if (!r_valid_ && !reads_.empty() && cycle >= reads_.front().due && r_open) present_read();
        if (!b_valid_ && !responses_.empty() && cycle >= responses_.front().due && b_open)
            b_valid_ = true;
        M_AXI(rvalid) = r_valid_;
        std::memcpy(&M_AXI(rdata), r_data_.data(), kPortBytes);
        M_AXI(rresp) = r_response_;
        M_AXI(rlast) = r_valid_ && reads_.front().beats == 1;
        M_AXI(bvalid) = b_valid_;
        M_AXI(bresp) = b_valid_ ? responses_.front().response : kOkay;
    }

    // What a machine in reset sees.
    void release() {
        M_AXI(arready) = M_AXI(awready) = M_AXI(wready) = 0;
        M_AXI(rvalid) = M_AXI(bvalid) = 0;
    }

    void sample(uint64_t cycle) {
        if (r_valid_ && M_AXI(rready)) take_read();
        if (b_valid_ && M_AXI(bready)) {
            b_valid_ = false;
            responses_.pop_front();
            writing_.pop_front();
        }
        sample_addresses(cycle);
        sample_data(cycle);
    }

private:
    struct Burst {
        uint64_t due, address;
        uint32_t beats, response;
    };

    void sample_addresses(uint64_t cycle) {
        if (ar_stable_.needed(M_AXI(arvalid), M_AXI(arready)))
            ar_stable_.check(cycle, M_AXI(arvalid), M_AXI(arready),
                             bytes_of(M_AXI(araddr), M_AXI(arlen), M_AXI(arsize), M_AXI(arburst)));
        if (aw_stable_.needed(M_AXI(awvalid), M_AXI(awready)))
            aw_stable_.check(cycle, M_AXI(awvalid), M_AXI(awready),
                             bytes_of(M_AXI(awaddr), M_AXI(awlen), M_AXI(awsize), M_AXI(awburst)));
        if (M_AXI(arvalid) && M_AXI(arready)) {
            const Burst burst{cycle + job_.latency, M_AXI(araddr), M_AXI(arlen) + 1u, kOkay};
            check_burst(cycle, "ar", burst, M_AXI(arsize), M_AXI(arburst));
            for (const Range& range : writing_)
                summary_.hazards += range.overlaps(range_of(burst));
            reads_.push_back(burst);
        }
        if (M_AXI(awvalid) && M_AXI(awready)) {
            const Burst burst{0, M_AXI(awaddr), M_AXI(awlen) + 1u, kOkay};
            check_burst(cycle, "aw", burst, M_AXI(awsize), M_AXI(awburst));
            for (const Burst& read : reads_)
                summary_.hazards += range_of(read).overlaps(range_of(burst));
            writes_.push_back(burst);
            writing_.push_back(range_of(burst));
        }
    }

    void sample_data(uint64_t cycle) {
        const bool valid = M_AXI(wvalid), ready = M_AXI(wready);
        if (w_stable_.needed(valid, ready))
            w_stable_.check(cycle, valid, ready,
                            bytes_of(M_AXI(wdata), M_AXI(wstrb), M_AXI(wlast)));
        if (valid && ready) {
            WriteBeat beat;
            std::memcpy(beat.data.data(), &M_AXI(wdata), kPortBytes);
            std::memcpy(beat.strobes.data(), &M_AXI(wstrb), sizeof(M_AXI(wstrb)));
            beat.last = M_AXI(wlast);
            beats_.push_back(beat);
        }
        for (; !writes_.empty() && !beats_.empty(); beats_.pop_front())
            write(cycle, writes_.front(), beats_.front());
    }

    void present_read() {
        const Burst& burst = reads_.front();
        const Range range = beat_range(burst.address);
        r_valid_ = true;
        r_response_ = response(range);
        if (r_response_ == kOkay)
            std::memcpy(r_data_.data(), &bytes_[range.start], kPortBytes);
        else
            r_data_.fill(kPoison);
    }

    void take_read() {
        ++summary_.read_beats;
        r_valid_ = false;
        r_data_.fill(kPoison);
        r_response_ = kOkay;
        advance(reads_.front());
        if (!reads_.front().beats) reads_.pop_front();
    }

    struct WriteBeat {
        Beat data;
        std::array<uint8_t, (kPortBytes + 63) / 64 * 8> strobes{};
        bool last;
    };

    void write(uint64_t cycle, Burst& burst, const WriteBeat& beat) {
        ++summary_.write_beats;
        if (beat.last != (burst.beats == 1)) summary_.violation(cycle, "wlast at the wrong beat");
        const Range range = beat_range(burst.address);
        const uint32_t here = response(range);
        burst.response = std::max(burst.response, here);
        if (here == kOkay)
            for (uint64_t i = 0; i < kPortBytes; ++i)
                if (beat.strobes[i / 8] >> (i % 8) & 1) bytes_[range.start + i] = beat.data[i];
        advance(burst);
        if (burst.beats) return;
        burst.due = cycle + job_.latency;
        responses_.push_back(burst);
        writes_.pop_front();
    }

    static Range beat_range(uint64_t address) {
        const uint64_t start = address / kPortBytes * kPortBytes;
        return {start, start + kPortBytes};
    }
    static Range range_of(const Burst& burst) {
        const uint64_t start = beat_range(burst.address).start;
        return {start, start + burst.beats * kPortBytes};
    }
    static void advance(Burst& burst) {
        burst.address = beat_range(burst.address).end;
        --burst.beats;
    }
    uint32_t response(const Range& range) const {
        if (range.end > bytes_.size()) return kDecerr;
        for (const Range& fault : job_.faults)
            if (fault.overlaps(range)) return kSlverr;
        return kOkay;
    }
    void check_burst(uint64_t cycle, const std::string& channel, const Burst& burst, uint32_t size,
                     uint32_t type) {
        if (uint64_t{1} << size != kPortBytes)
            summary_.violation(cycle, channel + "size is not the port's width");
        if (type != 1) summary_.violation(cycle, channel + "burst is not INCR");
        const Range range = range_of(burst);
        if (range.start / 4096 != (range.end - 1) / 4096)
            summary_.violation(cycle, channel + " burst crosses a 4 KiB boundary");
    }

    Vtop* top_;
    const Job& job_;
    Summary& summary_;
    std::vector<uint8_t> bytes_;
    Gate ar_, r_, aw_, w_, b_;
    Stable ar_stable_, aw_stable_, w_stable_;
    std::deque<Burst> reads_, writes_, responses_;
    std::deque<WriteBeat> beats_;
    std::deque<Range> writing_;  // address taken, response not yet taken
    bool r_valid_ = false, b_valid_ = false;
    Beat r_data_ = [] { Beat beat; beat.fill(kPoison); return beat; }();
    uint32_t r_response_ = kOkay;
};
