// URAM288 (UltraScale+, UG573) as far as Yosys uses it: 4,096 words of 72 bits, two ports on one
// clock, no cascade, no ECC, no further registers, words and outputs of 0 at first. A port reads or
// writes, and holds its output while it writes. Port A acts before port B: B reads what A writes in
// the same cycle, A reads the old word where B writes, and of two writes B's remains.
//
// Enables of bytes: 8 data bits and their parity bit each (PARITY_INTERLEAVED), or 8 data bits each
// and the ninth for all parity bits (PARITY_INDEPENDENT). Parity bit i is bit 64 + i.
module URAM288 #(
    parameter BWE_MODE_A = "PARITY_INTERLEAVED", BWE_MODE_B = "PARITY_INTERLEAVED",
    parameter EN_AUTO_SLEEP_MODE = "FALSE",
    parameter IREG_PRE_A = "FALSE", IREG_PRE_B = "FALSE", OREG_A = "FALSE", OREG_B = "FALSE",
    parameter RST_MODE_A = "SYNC", RST_MODE_B = "SYNC",
    parameter [0:0] IS_CLK_INVERTED = 0
) (
    input CLK, SLEEP,
    input EN_A, EN_B, RDB_WR_A, RDB_WR_B, RST_A, RST_B,
    input INJECT_DBITERR_A, INJECT_DBITERR_B, INJECT_SBITERR_A, INJECT_SBITERR_B,
    input [22:0] ADDR_A, ADDR_B,
    input [8:0] BWE_A, BWE_B,
    input [71:0] DIN_A, DIN_B,
    output reg [71:0] DOUT_A = 0, DOUT_B = 0
);
    reg [71:0] mem [0:4095];
    integer k;
    initial for (k = 0; k < 4096; k = k + 1) mem[k] = 0;

    // Bits that a port writes.
    function automatic [71:0] bits(input independent, input [8:0] bwe);
        integer i;
        for (i = 0; i < 8; i = i + 1) begin
            bits[8 * i +: 8] = {8{bwe[i]}};
            bits[64 + i] = independent ? bwe[8] : bwe[i];
        end
    endfunction

    wire [71:0] hits_a = EN_A && RDB_WR_A ? bits(BWE_MODE_A == "PARITY_INDEPENDENT", BWE_A) : 0;
    wire [71:0] hits_b = EN_B && RDB_WR_B ? bits(BWE_MODE_B == "PARITY_INDEPENDENT", BWE_B) : 0;
    wire [11:0] a = ADDR_A[11:0], b = ADDR_B[11:0];
    wire [71:0] after_a = mem[a] & ~hits_a | DIN_A & hits_a;
    wire [71:0] seen_b = a == b ? after_a : mem[b];

    always @(posedge CLK) begin
        if (RST_A) DOUT_A <= 0;
        else if (EN_A && !RDB_WR_A) DOUT_A <= mem[a];
        if (RST_B) DOUT_B <= 0;
        else if (EN_B && !RDB_WR_B) DOUT_B <= seen_b;
        if (EN_A && RDB_WR_A) mem[a] <= after_a;
        if (EN_B && RDB_WR_B) mem[b] <= seen_b & ~hits_b | DIN_B & hits_b;
    end

    if (IREG_PRE_A != "FALSE" || IREG_PRE_B != "FALSE" || OREG_A != "FALSE" || OREG_B != "FALSE")
        $error("URAM288: further registers are not modelled");
    if (EN_AUTO_SLEEP_MODE != "FALSE" || IS_CLK_INVERTED)
        $error("URAM288: sleep and an inverted clock are not modelled");
endmodule
